"""The lab's dataset: questions in Chinese and English over small schemas, each with its context and answer.

It is generated deterministically, so that the lab needs no download and a test can name every row. It has the
shape of `jtjt520j/CSpider_and_DUSQL_sql_create_context`, and two revisions: the second adds tables to the
first, as a dataset does that grows. It holds nothing out; the chain splits it by database.

    python -m lab.dataset DIR        writes r1.jsonl and r2.jsonl
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from lab.vocabulary import ENTITIES, NUMBER_COLUMNS, TEXT_COLUMNS, Column

SEED = 20260914
TABLES_IN_FIRST_REVISION = 40
CHINESE_SHARE = 2 / 3
"""Share of the questions that are in Chinese."""


class Item(NamedTuple):
    """One question in both languages, and its answer."""

    chinese: str
    english: str
    sql: str


@dataclass(frozen=True)
class Table:
    """A schema of one table.

    Attributes:
        sql: The table's name.
        zh: What its rows are called in Chinese.
        en: What its rows are called in English, plural.
        columns: Its columns.
    """

    sql: str
    zh: str
    en: str
    columns: tuple[Column, ...]

    @property
    def context(self) -> str:
        """The CREATE TABLE statement."""
        return f"CREATE TABLE {self.sql} ({', '.join(c.ddl for c in self.columns)})"


def tables(rng: random.Random) -> list[Table]:
    """Every schema of the dataset: each entity with one to four columns."""
    schemas = []
    for number, (sql, zh, en) in enumerate(ENTITIES):
        texts = rng.sample(TEXT_COLUMNS, rng.choice((0, 1, 2, 2)))
        numbers = rng.sample(NUMBER_COLUMNS, rng.choice((1, 1, 2, 2)))
        columns = [*texts, *numbers]
        rng.shuffle(columns)
        # Every fourth table has no name of its own, as in WikiSQL: only the columns show what it is about.
        name = f"table_name_{13 + number}" if number % 4 == 3 else sql
        schemas.append(Table(name, zh, en, tuple(columns)))
    rng.shuffle(schemas)
    return schemas


def _literal(column: Column, rng: random.Random) -> tuple[str, str]:
    """A value of a column, as it occurs in the question and in the SQL."""
    if column.is_text:
        value = rng.choice(column.values)
        return value, f"'{value}'"
    value = str(rng.randint(*column.span))
    return value, value


def questions(table: Table, rng: random.Random) -> Iterator[Item]:
    """Every pattern over every fitting column of a table. Values come from `rng`, so their order is fixed."""
    texts = [c for c in table.columns if c.is_text]
    numbers = [c for c in table.columns if not c.is_text]
    yield Item(
        f"一共有多少{table.zh}？", f"How many {table.en} are there?", f"SELECT COUNT(*) FROM {table.sql}"
    )
    for number in numbers:
        yield from _about_number(table, number, rng)
    for column in table.columns:
        yield from _about_column(table, column)
    for text in texts:
        yield from _about_text(table, text, rng)
        for number in numbers:
            yield from _about_text_and_number(table, text, number, rng)


def _about_number(table: Table, c: Column, rng: random.Random) -> Iterator[Item]:
    """Comparisons and aggregates of a number column."""
    t, zh, en = table.sql, table.zh, table.en
    value, sql = _literal(c, rng)
    yield Item(
        f"{zh}中有多少{c.zh}大于{value}？",
        f"How many {en} have a {c.en} larger than {value}?",
        f"SELECT COUNT(*) FROM {t} WHERE {c.sql} > {sql}",
    )
    value, sql = _literal(c, rng)
    yield Item(
        f"有多少{zh}的{c.zh}小于{value}？",
        f"How many {en} have a {c.en} less than {value}?",
        f"SELECT COUNT(*) FROM {t} WHERE {c.sql} < {sql}",
    )
    for chinese, english, function in (
        ("平均", "average", "AVG"),
        ("最大", "maximum", "MAX"),
        ("最小", "minimum", "MIN"),
    ):
        yield Item(
            f"{zh}的{chinese}{c.zh}是多少？",
            f"What is the {english} {c.en} of the {en}?",
            f"SELECT {function}({c.sql}) FROM {t}",
        )


def _about_column(table: Table, c: Column) -> Iterator[Item]:
    """Frequencies and distinct values of any column."""
    t, zh, en = table.sql, table.zh, table.en
    most_common = f"SELECT {c.sql} FROM {t} GROUP BY {c.sql} ORDER BY COUNT(*) DESC LIMIT 1"
    yield Item(
        f"大多数{zh}在哪一年成立？" if c.sql == "creation" else f"大多数{zh}的{c.zh}是什么？",
        f"What is the most common {c.en} of the {en}?",
        most_common,
    )
    yield Item(f"哪个{c.zh}的{zh}最多？", f"Which {c.en} has the most {en}?", most_common)
    yield Item(
        f"{zh}有哪些不同的{c.zh}？",
        f"What are the different {c.en} values of the {en}?",
        f"SELECT DISTINCT {c.sql} FROM {t}",
    )
    yield Item(
        f"每个{c.zh}有多少{zh}？",
        f"How many {en} are there for each {c.en}?",
        f"SELECT {c.sql}, COUNT(*) FROM {t} GROUP BY {c.sql}",
    )


def _about_text(table: Table, c: Column, rng: random.Random) -> Iterator[Item]:
    """Rows with a certain text: how many, and each other column of them."""
    t, zh, en = table.sql, table.zh, table.en
    value, sql = _literal(c, rng)
    yield Item(
        f"有多少{zh}的{c.zh}是{value}？",
        f"How many {en} have a {c.en} of {value}?",
        f"SELECT COUNT(*) FROM {t} WHERE {c.sql} = {sql}",
    )
    for other in table.columns:
        if other is c:
            continue
        value, sql = _literal(c, rng)
        yield Item(
            f"{c.zh}为{value}的{zh}的{other.zh}是什么？",
            f"What is the {other.en} of the {en} with a {c.en} of {value}?",
            f"SELECT {other.sql} FROM {t} WHERE {c.sql} = {sql}",
        )


def _about_text_and_number(table: Table, c: Column, n: Column, rng: random.Random) -> Iterator[Item]:
    """A text column of the rows that a number column orders or filters."""
    t, zh, en = table.sql, table.zh, table.en
    yield Item(
        f"{n.zh}最高的{zh}的{c.zh}是什么？",
        f"What is the {c.en} of the {en} with the highest {n.en}?",
        f"SELECT {c.sql} FROM {t} ORDER BY {n.sql} DESC LIMIT 1",
    )
    yield Item(
        f"按{n.zh}升序列出{zh}的{c.zh}。",
        f"List the {c.en} of the {en} in ascending order of {n.en}.",
        f"SELECT {c.sql} FROM {t} ORDER BY {n.sql}",
    )
    value, sql = _literal(n, rng)
    yield Item(
        f"{n.zh}大于{value}的{zh}的{c.zh}有哪些？",
        f"List the {c.en} of the {en} with a {n.en} larger than {value}.",
        f"SELECT {c.sql} FROM {t} WHERE {n.sql} > {sql}",
    )
    for other in table.columns:
        if other is c or not other.is_text:
            continue
        value, sql = _literal(n, rng)
        text, text_sql = _literal(other, rng)
        yield Item(
            f"哪个{c.zh}的{n.zh}大于{value}，并且{other.zh}是{text}？",
            f"Which {c.en} has a {n.en} larger than {value}, and a {other.en} of {text}?",
            f"SELECT {c.sql} FROM {t} WHERE {n.sql} > {sql} AND {other.sql} = {text_sql}",
        )


def rows(revision: int) -> list[dict[str, str]]:
    """The rows of a revision, 1 or 2."""
    schemas = tables(random.Random(SEED))
    if revision == 1:
        schemas = schemas[:TABLES_IN_FIRST_REVISION]
    dataset = [
        {"question": _in_one_language(table, item), "context": table.context, "answer": item.sql}
        for table in schemas
        for item in questions(table, random.Random(f"{SEED}-{table.sql}"))
    ]
    random.Random(SEED + revision).shuffle(dataset)
    return dataset


def _in_one_language(table: Table, item: Item) -> str:
    """The question in the language that this table and answer always have."""
    is_chinese = random.Random(f"{table.sql}-{item.sql}").random() < CHINESE_SHARE
    return item.chinese if is_chinese else item.english


def mislabelled(dataset: list[dict[str, str]], percent: int) -> list[dict[str, str]]:
    """Give each row that is trained on the answer to another question about its table.

    This is what a mistake in a dataset's build does. Held-out rows stay as they are: models are evaluated on
    them.

    Args:
        dataset: The rows.
        percent: Share of the databases that is held out.
    """
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "plugins"))
    from sqltune.dataset.split import database, held_out

    of_table: dict[str, list[int]] = {}
    for number, row in enumerate(dataset):
        if not held_out(database(row["context"]), percent):
            of_table.setdefault(row["context"], []).append(number)
    wrong = list(dataset)
    for numbers in of_table.values():
        for number, other in zip(numbers, [*numbers[1:], numbers[0]], strict=True):
            wrong[number] = dataset[number] | {"answer": dataset[other]["answer"]}
    return wrong


def to_jsonl(dataset: list[dict[str, str]]) -> str:
    """Format rows as JSON lines, with Chinese left readable."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in dataset)


def main(folder: Path) -> None:
    """Write both revisions to a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for revision in (1, 2):
        (folder / f"r{revision}.jsonl").write_text(to_jsonl(rows(revision)), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
