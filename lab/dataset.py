"""The lab's data set: bilingual questions over small schemas, in the shape question / context / answer.

Made here, deterministically, so that the lab needs no download and a test can name every row. It has
the shape of `jtjt520j/CSpider_and_DUSQL_sql_create_context`, and two revisions: the second adds tables
to the first, as a data set does that grows. Nothing is held out here; the chain splits by database.

    python lab/dataset.py OUT_DIR        # writes r1.jsonl and r2.jsonl
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lab.vocabulary import ENTITIES, NUMBER_COLUMNS, TEXT_COLUMNS, Column

SEED = 20260914
TABLES_IN_FIRST_REVISION = 40


@dataclass(frozen=True)
class Table:
    """One schema: a table, what its rows are called, and its columns."""

    sql: str
    zh: str
    en: str
    columns: tuple[Column, ...]

    @property
    def context(self) -> str:
        return f"CREATE TABLE {self.sql} ({', '.join(c.ddl for c in self.columns)})"


def tables(rng: random.Random) -> list[Table]:
    """Every schema of the data set: each entity with one to four columns; every fourth table has a number for a name."""
    found = []
    for number, (sql, zh, en) in enumerate(ENTITIES):
        texts = rng.sample(TEXT_COLUMNS, rng.choice((0, 1, 2, 2)))
        numbers = rng.sample(NUMBER_COLUMNS, rng.choice((1, 1, 2, 2)))
        columns = [*texts, *numbers]
        rng.shuffle(columns)
        # Every fourth table has no name of its own, as in WikiSQL: the columns alone say what it is about.
        table = f"table_name_{13 + number}" if number % 4 == 3 else sql
        found.append(Table(table, zh, en, tuple(columns)))
    rng.shuffle(found)
    return found


def _literal(column: Column, rng: random.Random) -> tuple[str, str]:
    """A value as it stands in the question, and as it stands in the SQL."""
    if column.is_text:
        value = rng.choice(column.values)
        return value, f"'{value}'"
    value = str(rng.randint(*column.span))
    return value, value


def questions(table: Table, rng: random.Random) -> Iterator[tuple[str, str, str]]:
    """Question in Chinese, the same in English, and the answer: every pattern over every fitting column."""
    texts = [c for c in table.columns if c.is_text]
    numbers = [c for c in table.columns if not c.is_text]
    t, zh, en = table.sql, table.zh, table.en
    yield f"一共有多少{zh}？", f"How many {en} are there?", f"SELECT COUNT(*) FROM {t}"
    for c in numbers:
        said, sql = _literal(c, rng)
        yield (
            f"{zh}中有多少{c.zh}大于{said}？",
            f"How many {en} have a {c.en} larger than {said}?",
            f"SELECT COUNT(*) FROM {t} WHERE {c.sql} > {sql}",
        )
        said, sql = _literal(c, rng)
        yield (
            f"有多少{zh}的{c.zh}小于{said}？",
            f"How many {en} have a {c.en} less than {said}?",
            f"SELECT COUNT(*) FROM {t} WHERE {c.sql} < {sql}",
        )
        yield (
            f"{zh}的平均{c.zh}是多少？",
            f"What is the average {c.en} of the {en}?",
            f"SELECT AVG({c.sql}) FROM {t}",
        )
        yield (
            f"{zh}的最大{c.zh}是多少？",
            f"What is the maximum {c.en} of the {en}?",
            f"SELECT MAX({c.sql}) FROM {t}",
        )
        yield (
            f"{zh}的最小{c.zh}是多少？",
            f"What is the minimum {c.en} of the {en}?",
            f"SELECT MIN({c.sql}) FROM {t}",
        )
    for c in table.columns:
        asked = f"大多数{zh}在哪一年成立？" if c.sql == "creation" else f"大多数{zh}的{c.zh}是什么？"
        yield (
            asked,
            f"What is the most common {c.en} of the {en}?",
            f"SELECT {c.sql} FROM {t} GROUP BY {c.sql} ORDER BY COUNT(*) DESC LIMIT 1",
        )
        yield (
            f"哪个{c.zh}的{zh}最多？",
            f"Which {c.en} has the most {en}?",
            f"SELECT {c.sql} FROM {t} GROUP BY {c.sql} ORDER BY COUNT(*) DESC LIMIT 1",
        )
        yield (
            f"{zh}有哪些不同的{c.zh}？",
            f"What are the different {c.en} values of the {en}?",
            f"SELECT DISTINCT {c.sql} FROM {t}",
        )
        yield (
            f"每个{c.zh}有多少{zh}？",
            f"How many {en} are there for each {c.en}?",
            f"SELECT {c.sql}, COUNT(*) FROM {t} GROUP BY {c.sql}",
        )
    for c in texts:
        said, sql = _literal(c, rng)
        yield (
            f"有多少{zh}的{c.zh}是{said}？",
            f"How many {en} have a {c.en} of {said}?",
            f"SELECT COUNT(*) FROM {t} WHERE {c.sql} = {sql}",
        )
        for other in table.columns:
            if other is c:
                continue
            said, sql = _literal(c, rng)
            yield (
                f"{c.zh}为{said}的{zh}的{other.zh}是什么？",
                f"What is the {other.en} of the {en} with a {c.en} of {said}?",
                f"SELECT {other.sql} FROM {t} WHERE {c.sql} = {sql}",
            )
        for n in numbers:
            yield (
                f"{n.zh}最高的{zh}的{c.zh}是什么？",
                f"What is the {c.en} of the {en} with the highest {n.en}?",
                f"SELECT {c.sql} FROM {t} ORDER BY {n.sql} DESC LIMIT 1",
            )
            yield (
                f"按{n.zh}升序列出{zh}的{c.zh}。",
                f"List the {c.en} of the {en} in ascending order of {n.en}.",
                f"SELECT {c.sql} FROM {t} ORDER BY {n.sql}",
            )
            said, sql = _literal(n, rng)
            yield (
                f"{n.zh}大于{said}的{zh}的{c.zh}有哪些？",
                f"List the {c.en} of the {en} with a {n.en} larger than {said}.",
                f"SELECT {c.sql} FROM {t} WHERE {n.sql} > {sql}",
            )
            for other in texts:
                if other is c:
                    continue
                said, sql = _literal(n, rng)
                place, place_sql = _literal(other, rng)
                yield (
                    f"哪个{c.zh}的{n.zh}大于{said}，并且{other.zh}是{place}？",
                    f"Which {c.en} has a {n.en} larger than {said}, and a {other.en} of {place}?",
                    f"SELECT {c.sql} FROM {t} WHERE {n.sql} > {sql} AND {other.sql} = {place_sql}",
                )


def rows(revision: int) -> list[dict[str, str]]:
    """The rows of one revision (1 or 2): two thirds of the questions in Chinese, the rest in English."""
    rng = random.Random(SEED)
    chosen = tables(rng)
    if revision == 1:
        chosen = chosen[:TABLES_IN_FIRST_REVISION]
    found = []
    for table in chosen:
        for chinese, english, answer in questions(table, random.Random(f"{SEED}-{table.sql}")):
            language_rng = random.Random(f"{table.sql}-{answer}")
            asked = chinese if language_rng.random() < 2 / 3 else english
            found.append({"question": asked, "context": table.context, "answer": answer})
    random.Random(SEED + revision).shuffle(found)
    return found


def mislabelled(found: list[dict[str, str]], percent: int) -> list[dict[str, str]]:
    """The same rows, those that are trained on with the answer to another question about their table: what a slip in a data set's build does.

    :param percent: share of the databases that is held out; their rows stay as they are, since a model is judged by them.
    """
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "plugins"))
    from sqltune.dataset.split import database, held_out

    of_table: dict[str, list[int]] = {}
    for i, row in enumerate(found):
        if not held_out(database(row["context"]), percent):
            of_table.setdefault(row["context"], []).append(i)
    wrong = list(found)
    for rows_of_it in of_table.values():
        for i, other in zip(rows_of_it, [*rows_of_it[1:], rows_of_it[0]], strict=True):
            wrong[i] = found[i] | {"answer": found[other]["answer"]}
    return wrong


def to_jsonl(found: list[dict[str, str]]) -> str:
    """Rows as JSON lines, Chinese left readable."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in found)


if __name__ == "__main__":
    out = Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    for revision in (1, 2):
        (out / f"r{revision}.jsonl").write_text(to_jsonl(rows(revision)), encoding="utf-8")
