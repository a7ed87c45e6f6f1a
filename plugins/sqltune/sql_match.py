"""Execution match: do two queries say the same of the same database?

A database is made from the CREATE TABLE statements of the question's context and filled with rows that hold the literals
of both queries, so that conditions have something to select. Several differently filled copies tell apart queries that
agree by chance on one (the idea of the test-suite evaluation: Zhong, Yu, Klein, EMNLP 2020).

Model-written SQL is run read-only, in a process of its own, with limits on time, memory and rows.
"""

from __future__ import annotations

import json
import random
import re
import resource
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import sqlglot
from sqlglot import exp

from sqltune.errors import ScoringError

COPIES = 4
ROWS = 24
MAX_SECONDS = 2.0
MAX_RESULT_ROWS = 10_000
MAX_MEMORY = 2 * 1024**3

Verdict = Literal["match", "mismatch", "invalid", "gold_invalid"]


@dataclass(frozen=True)
class Match:
    """The verdict on one answer: `vacuous` when gold and prediction both returned nothing on every copy."""

    verdict: Verdict
    reason: str = ""
    vacuous: bool = False

    @property
    def matched(self) -> bool:
        return self.verdict == "match"


@dataclass(frozen=True)
class _Table:
    name: str
    columns: tuple[tuple[str, bool], ...]  # name, is a number


_NUMBER_TYPES = re.compile(r"INT|NUM|REAL|FLOA|DOUB|DEC|BOOL", re.I)


def parse_context(context: str) -> list[_Table]:
    """Tables and columns of CREATE TABLE statements; sqlglot's ParseError when they can't be read."""
    tables = []
    for statement in sqlglot.parse(context, read="sqlite"):
        if isinstance(statement, exp.Create) and isinstance(statement.this, exp.Schema):
            columns = tuple(
                (c.name, bool(c.kind and _NUMBER_TYPES.search(c.kind.sql()))) for c in statement.this.expressions if isinstance(c, exp.ColumnDef)
            )
            tables.append(_Table(statement.this.this.name, columns))
    return tables


_LITERAL = re.compile(r"'((?:[^']|'')*)'|\"((?:[^\"]|\"\")*)\"|(?<![\w.])(-?\d+(?:\.\d+)?)")


def literals(*queries: str) -> tuple[list[str], list[float]]:
    """The texts and numbers that stand in queries."""
    texts: set[str] = set()
    numbers: set[float] = set()
    for query in queries:
        for single, double, number in _LITERAL.findall(query):
            if number:
                numbers.add(float(number))
            elif single or double:
                texts.add((single or double).replace("''", "'"))
    return sorted(texts), sorted(numbers)


def _value(is_number: bool, texts: Sequence[str], numbers: Sequence[float], rng: random.Random) -> object:
    """A value near what the queries ask for, or one that they do not."""
    if is_number or (numbers and rng.random() < 0.4):
        if numbers and rng.random() < 0.7:
            near = rng.choice(numbers) + rng.choice((-10, -1, 0, 0, 1, 10, 0.5))
            return int(near) if near == int(near) else near
        return rng.randint(0, 30)
    if texts and rng.random() < 0.6:
        return rng.choice(texts).replace("%", "")
    return rng.choice(("alpha", "beta", "gamma", "delta", "北京", "上海"))


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def build(tables: Sequence[_Table], texts: Sequence[str], numbers: Sequence[float], seed: int) -> sqlite3.Connection:
    """One filled copy of a database, in memory."""
    rng = random.Random(seed)
    connection = sqlite3.connect(":memory:", isolation_level=None)
    for table in tables:
        ddl = ", ".join(f"{_quoted(name)} {'NUMERIC' if number else 'TEXT'}" for name, number in table.columns)
        connection.execute(f"CREATE TABLE {_quoted(table.name)} ({ddl})")
        marks = ", ".join("?" * len(table.columns))
        rows = [[_value(number, texts, numbers, rng) for _, number in table.columns] for _ in range(ROWS)]
        connection.executemany(f"INSERT INTO {_quoted(table.name)} VALUES ({marks})", rows)
    return connection


_READING = {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE}
_FORBIDDEN_FUNCTIONS = {"load_extension", "writefile", "readfile", "edit", "fts3_tokenizer", "randomblob", "zeroblob"}


def _authorize(action: int, first: str | None, second: str | None, *_: str | None) -> int:
    if action not in _READING or (action == sqlite3.SQLITE_FUNCTION and (second or "").lower() in _FORBIDDEN_FUNCTIONS):
        return sqlite3.SQLITE_DENY
    return sqlite3.SQLITE_OK


def _run(connection: sqlite3.Connection, query: str) -> list[tuple[object, ...]]:
    """The rows of one SELECT; sqlite3.Error with a reason for anything else. The progress handler ends what a thread or signal can't."""
    deadline = time.monotonic() + MAX_SECONDS
    connection.set_progress_handler(lambda: time.monotonic() > deadline, 10_000)
    connection.set_authorizer(_authorize)
    try:
        cursor = connection.execute(query)
        if cursor.description is None:
            raise sqlite3.OperationalError("not a SELECT")
        rows = cursor.fetchmany(MAX_RESULT_ROWS + 1)
    finally:
        connection.set_progress_handler(None, 0)
        connection.set_authorizer(None)
    if len(rows) > MAX_RESULT_ROWS:
        raise sqlite3.OperationalError(f"more than {MAX_RESULT_ROWS} rows")
    return rows


def _normal(value: object) -> object:
    return round(value, 6) + 0.0 if isinstance(value, float) else value


def same_rows(gold: Sequence[tuple[object, ...]], predicted: Sequence[tuple[object, ...]], ordered: bool) -> bool:
    """Whether two results say the same: columns in place, rows as a multiset, in order where the gold orders."""
    left, right = ([tuple(_normal(v) for v in row) for row in rows] for rows in (gold, predicted))
    return left == right if ordered else Counter(left) == Counter(right)


def orders(query: str) -> bool:
    """Whether the outermost SELECT of a query orders its rows."""
    try:
        tree = sqlglot.parse_one(query, read="sqlite")
    except sqlglot.errors.SqlglotError:
        return " order by " in f" {query.lower()} "
    return tree.args.get("order") is not None


def compare(context: str, gold: str, predicted: str) -> Match:
    """The verdict on one answer, in this process; `match` runs it in a guarded one."""
    try:
        tables = parse_context(context)
    except sqlglot.errors.SqlglotError as e:
        return Match("gold_invalid", f"the context can't be read: {str(e).splitlines()[0]}")
    texts, numbers = literals(gold, predicted)
    ordered = orders(gold)
    vacuous = True
    for seed in range(COPIES):
        try:
            connection = build(tables, texts, numbers, seed)
            expected = _run(connection, gold)
        except sqlite3.Error as e:
            return Match("gold_invalid", str(e))
        try:
            found = _run(connection, predicted)
        except (sqlite3.Error, sqlite3.Warning, ValueError, UnicodeError) as e:
            return Match("invalid", str(e) if str(e) != "interrupted" else f"took longer than {MAX_SECONDS} s")
        finally:
            connection.close()
        if not same_rows(expected, found, ordered):
            return Match("mismatch", "other rows")
        vacuous = vacuous and not expected
    return Match("match", vacuous=vacuous)


def _guard() -> None:
    """Limits of the process that runs model-written SQL."""
    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY, MAX_MEMORY))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))


def _compare_safely(item: tuple[str, str, str]) -> Match:
    try:
        return compare(*item)
    except (MemoryError, RecursionError) as e:
        return Match("invalid", type(e).__name__)


def match(items: Sequence[tuple[str, str, str]]) -> list[Match]:
    """Verdicts on (context, gold, predicted) triples, computed in a guarded process of its own.

    A plain process and not multiprocessing's: that would import the caller's main program there, Airflow's whole command line.
    """
    if not items:
        return []
    env = {"PYTHONPATH": str(Path(__file__).resolve().parents[1]), "PATH": "/usr/bin:/bin", "PYTHONIOENCODING": "utf-8"}
    answer = subprocess.run([sys.executable, "-m", "sqltune.sql_match"], input=json.dumps(items), capture_output=True, text=True, env=env, timeout=60 + 2 * COPIES * MAX_SECONDS * len(items))
    if answer.returncode:
        raise ScoringError(f"the process that runs the queries ended with {answer.returncode}: {answer.stderr.strip()[-800:]}")
    return [Match(**m) for m in json.loads(answer.stdout)]


if __name__ == "__main__":
    _guard()
    print(json.dumps([asdict(_compare_safely(tuple(item))) for item in json.load(sys.stdin)]))
