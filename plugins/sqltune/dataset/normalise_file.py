"""Normalises the answers of a file: what the command `sqltune normalise` does.

    python -m sqltune.dataset.normalise_file FILE [--databases DIR]

The rows go to standard output as JSON lines, the counts and the queries that can't be normalised to standard
error.
"""

from __future__ import annotations

import argparse
import json
import sqlite3
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing, nullcontext
from dataclasses import dataclass
from pathlib import Path

from sqltune.dataset.rows import read_rows
from sqltune.errors import DatasetError, SqltuneError
from sqltune.sql.normalise import RULES, Normalised, normalise

_EXCERPT = 120
"""Characters of a row that an error message shows."""


@dataclass(frozen=True)
class NormalisedRow:
    """A row of a file, and its query in SQLite's dialect."""

    row: dict[str, object]
    query: str
    result: Normalised

    def json_line(self) -> str:
        """The row with `answer_sqlite` (null where the query does not run), `rules` and `problem` added."""
        added = {
            "answer_sqlite": None if self.result.problem else self.result.sql,
            "rules": self.result.rules,
            "problem": self.result.problem,
        }
        return json.dumps(self.row | added, ensure_ascii=False)


@dataclass(frozen=True)
class NormaliseReport:
    """What became of the rows of a file."""

    rows: tuple[NormalisedRow, ...]

    @property
    def problems(self) -> list[str]:
        """One line for each query that can't be normalised."""
        return [
            f"can't be normalised ({row.result.problem}): {row.query}"
            for row in self.rows
            if row.result.problem
        ]

    @property
    def summary(self) -> str:
        """One line with the counts of rows, changes by rule, and queries that run."""
        by_rule = Counter(rule for row in self.rows for rule in row.result.rules)
        rules = ", ".join(f"{rule} {by_rule[rule]}" for rule in RULES if by_rule[rule]) or "by no rule"
        changed = sum(bool(row.result.rules) for row in self.rows)
        run_count = len(self.rows) - len(self.problems)
        share = 100 * run_count / max(1, len(self.rows))
        return f"{len(self.rows)} rows, {changed} changed ({rules}), {run_count} run ({share:.1f} %)"


def run(file: Path, databases: Path | None = None) -> NormaliseReport:
    """Normalise the queries of a file.

    Args:
        file: JSON lines or one JSON list, with the query under `answer` or `query`, and its CREATE TABLE
            statements under `context`.
        databases: folder of `<db_id>.sqlite` to try the queries on; by default each is tried on its context.

    Raises:
        DatasetError: the file or a database can't be read, or a row has no query or no `db_id`.
    """
    try:
        return NormaliseReport(tuple(_normalised_rows(file, databases)))
    except (OSError, UnicodeError, sqlite3.Error) as e:
        raise DatasetError(f"{file}: can't be normalised ({e})") from e


def _normalised_rows(file: Path, databases: Path | None) -> Iterator[NormalisedRow]:
    for row in read_rows([file]):
        query = (row.get("answer") or row.get("query")) if isinstance(row, dict) else None
        if not isinstance(query, str):
            excerpt = json.dumps(row, ensure_ascii=False)[:_EXCERPT]
            raise DatasetError(f"{file}: a row has neither 'answer' nor 'query': {excerpt}")
        with closing(_open_read_only(row, databases)) if databases else nullcontext() as connection:
            yield NormalisedRow(row, query, normalise(query, str(row.get("context", "")), connection))


def _open_read_only(row: Mapping[str, object], databases: Path) -> sqlite3.Connection:
    if not isinstance(row.get("db_id"), str):
        raise DatasetError(
            f"db_id: a row names no database of {databases}: add its name, or leave out --databases"
        )
    database = databases / f"{row['db_id']}.sqlite"
    if not database.is_file():
        raise DatasetError(
            f"db_id: {database} does not exist: correct db_id, or name its folder with --databases"
        )
    return sqlite3.connect(f"{database.resolve().as_uri()}?mode=ro", uri=True)


def main(file: Path, databases: Path | None = None) -> int:
    """Normalise a file and print rows and counts.

    Args:
        file: the rows, see `run`.
        databases: folder of databases, see `run`.

    Returns:
        The exit code: 1 if a file can't be read.
    """
    try:
        report = run(file, databases)
    except SqltuneError as e:
        print(e, file=sys.stderr)
        return 1
    for row in report.rows:
        print(row.json_line())
    for line in (*report.problems, report.summary):
        print(line, file=sys.stderr)
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        prog="python -m sqltune.dataset.normalise_file",
        description="Rewrite DuSQL's SQL dialect to SQLite's: rows with answer_sqlite to standard output, "
        "counts to standard error.",
    )
    parser.add_argument(
        "file",
        type=Path,
        help="JSON lines or a JSON list; the query under answer or query, "
        "the CREATE TABLE statements under context",
    )
    parser.add_argument(
        "--databases",
        type=Path,
        help="folder of <db_id>.sqlite to try the queries on; without it, each row's context",
    )
    options = parser.parse_args()
    sys.exit(main(options.file, options.databases))
