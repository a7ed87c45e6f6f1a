"""How often synthetic databases give the verdict of the real ones: on Spider, one JSON object a line.

    python bench/synthetic_databases.py SPIDER_DEV [--list]

SPIDER_DEV: the folder with dev.json, sqlite/ and predictions/. Each disagreement is classified. Where only
the real rows match: did they match by chance? They did if both results are empty, or if the real database
with the values of its columns (keys apart) in another order tells the two queries apart. Where only the
synthetic rows match: is the gold's own answer on the real rows one of several that tie? --list prints the
disagreements that none of this explains.
"""

from __future__ import annotations

import json
import random
import sqlite3
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "plugins"))
from sqltune.dataset.rows import read_rows
from sqltune.evaluation.execution_match import match_pairs
from sqltune.evaluation.judge import Match, Pair
from sqltune.evaluation.questions import Question, question_from_row
from sqltune.evaluation.score_files import read_predictions
from sqltune.sql.names import quoted
from sqltune.sql.queries import has_order_by, with_joined_operators, with_ties_broken, without_distinct

SHUFFLES = 5
"""Copies of each real database with its values in another order."""

BOTH_EMPTY = "both empty on the real rows"
BY_CHANCE = "distinguished by the real values in another order"
TIES = "the gold's rows tie on the real database"
TOO_STRICT = "synthetic rows too strict"
NOT_APART = "synthetic rows can't tell them apart"
REAL_ROWS_DO_NOT_DECIDE = (BOTH_EMPTY, BY_CHANCE, TIES)


def shuffled(database: Path, seed: int, target: Path) -> Path:
    """Copy a database, with the values of each column that is no key in another order."""
    rng = random.Random(seed)
    target.write_bytes(database.read_bytes())
    with closing(sqlite3.connect(target)) as connection, connection:
        connection.text_factory = lambda b: b.decode(errors="replace")
        tables = connection.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'"
        ).fetchall()
        for (table,) in tables:
            for column in _columns_without_keys(connection, table):
                _shuffle(connection, table, column, rng)
    return target


def _columns_without_keys(connection: sqlite3.Connection, table: str) -> list[str]:
    keys = {row[3].lower() for row in connection.execute(f"PRAGMA foreign_key_list({quoted(table)})")}
    columns = connection.execute(f"PRAGMA table_info({quoted(table)})").fetchall()
    keys |= {name.lower() for _, name, _, _, _, key in columns if key}
    names = [name for _, name, *_ in columns]
    return [n for n in names if n.lower() not in keys and not n.lower().endswith("id")]


def _shuffle(connection: sqlite3.Connection, table: str, column: str, rng: random.Random) -> None:
    rows = connection.execute(f"SELECT rowid, {quoted(column)} FROM {quoted(table)}").fetchall()
    values = [value for _, value in rows]
    rng.shuffle(values)
    updates = [(value, rowid) for (rowid, _), value in zip(rows, values, strict=True)]
    try:
        connection.executemany(f"UPDATE {quoted(table)} SET {quoted(column)} = ? WHERE rowid = ?", updates)
    except sqlite3.IntegrityError:
        # A column whose values are unique keeps its order.
        return


def ties(gold: str, database: str) -> bool:
    """Whether the gold's own answer is one of several.

    Ties of its ORDER BY, cut off by its LIMIT, give other rows when they are broken the other way.
    """
    query = without_distinct(with_joined_operators(gold))
    if not has_order_by(query):
        return False
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        connection.text_factory = lambda b: b.decode(errors="replace")
        width = len(connection.execute(query).description)
        one, other = (
            Counter(connection.execute(with_ties_broken(query, width, descending)).fetchall())
            for descending in (False, True)
        )
    return one != other


def kind_of(question: Question, predicted: str, real: Match, copies: Sequence[str]) -> str:
    """Why the two verdicts differ."""
    if not real.matched:
        return TIES if ties(question.gold, question.database or "") else NOT_APART
    if real.vacuous:
        return BOTH_EMPTY
    on_copies = match_pairs([Pair(question.gold, predicted, question.context, copy) for copy in copies], 1)
    return TOO_STRICT if all(m.matched for m in on_copies) else BY_CHANCE


def compare(file: Path, questions: Sequence[Question], copies: dict[str, list[str]], show: bool) -> None:
    """Compare the verdicts on a file of predictions, and print the counts."""
    queries = read_predictions(file)
    pairs = list(zip(questions, queries, strict=True))
    real = match_pairs([Pair(q.gold, p, q.context, q.database) for q, p in pairs])
    synthetic = match_pairs([Pair(q.gold, p, q.context) for q, p in pairs])
    kinds: Counter[str] = Counter()
    for (question, predicted), on_real, on_synthetic in zip(pairs, real, synthetic, strict=True):
        if on_real.matched == on_synthetic.matched:
            continue
        kind = kind_of(question, predicted, on_real, copies[question.database or ""])
        kinds[kind] += 1
        if show and kind not in REAL_ROWS_DO_NOT_DECIDE:
            print(
                f"{kind}: {question.id}\n  gold      {question.gold}\n  predicted {predicted}",
                file=sys.stderr,
            )
    agree = len(questions) - kinds.total()
    undecided = sum(kinds[kind] for kind in REAL_ROWS_DO_NOT_DECIDE)
    figures = {
        "measure": "verdicts on synthetic databases",
        "predictions": file.stem,
        "questions": len(questions),
        "agree": round(100 * agree / len(questions), 2),
        "agree_where_real_rows_decide": round(100 * agree / (len(questions) - undecided), 2),
        "disagreements": dict(kinds),
    }
    print(json.dumps(figures), flush=True)


def main(data: Path, show: bool) -> None:
    """Compare the verdicts on both kinds of databases, for each file of predictions."""
    questions = [
        question_from_row(row, f"{i:04d}", data / "sqlite")
        for i, row in enumerate(read_rows([data / "dev.json"]))
    ]
    with tempfile.TemporaryDirectory() as folder:
        copies = {
            database: [
                str(shuffled(Path(database), seed, Path(folder) / f"{Path(database).stem}-{seed}.sqlite"))
                for seed in range(SHUFFLES)
            ]
            for database in {q.database for q in questions if q.database}
        }
        for file in sorted((data / "predictions").iterdir()):
            compare(file, questions, copies, show)


if __name__ == "__main__":
    main(Path(sys.argv[1]), "--list" in sys.argv)
