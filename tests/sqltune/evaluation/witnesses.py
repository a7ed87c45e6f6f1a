"""Databases for the tests of witnesses: made of rows, and of a witness."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path

from sqltune.evaluation.judge import Judge, Match, Pair
from sqltune.evaluation.witness import Witness
from sqltune.evaluation.witness_search import WitnessFinder
from sqltune.sql.names import quoted

Rows = Mapping[str, Sequence[Sequence[object]]]

CONTEXT = (
    "CREATE TABLE team (id INTEGER PRIMARY KEY, name TEXT, city TEXT); "
    "CREATE TABLE player (id INTEGER PRIMARY KEY, name TEXT, age INTEGER, "
    "team_id INTEGER REFERENCES team (id))"
)
TEAMS = [(1, "Reds", "Rome"), (2, "Blues", "Bonn"), (3, "Greens", "Rome")]
PLAYERS = [
    (1, "Ann", 20, 1),
    (2, "Ben", 25, 1),
    (3, "Cid", 25, 2),
    (4, "Dan", 30, 2),
    (5, "Eve", 35, None),
    (6, "Fay", 40, 2),
]


def database(file: Path, rows: Rows, context: str = CONTEXT) -> str:
    """Write a database file; its path."""
    with closing(sqlite3.connect(file)) as connection, connection:
        # Nothing here must survive a crash: without waiting for the disk, it takes a tenth of the time.
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("PRAGMA journal_mode = OFF")
        connection.executescript(context)
        for table, values in rows.items():
            for row in values:
                places = ", ".join("?" * len(row))
                connection.execute(f"INSERT INTO {quoted(table)} VALUES ({places})", row)
    return str(file)


def league(folder: Path) -> str:
    """Write the database of teams and players; its path."""
    return database(folder / "league.sqlite", {"team": TEAMS, "player": PLAYERS})


def witness_of(gold: str, predicted: str, database: str | None = None, context: str = CONTEXT) -> Witness:
    """The witness of a pair that the judge finds different."""
    pair = Pair(gold, predicted, context, database)
    assert Judge().judge(pair).outcome == "mismatch"
    document = WitnessFinder().find(pair)
    assert document is not None
    return Witness.model_validate(document)


def rows_of(witness: Witness) -> dict[str, list[tuple[object, ...]]]:
    """The rows of a witness by table."""
    return {table.name: list(table.rows) for table in witness.tables}


def judged_on(file: Path, witness: Witness, rows: Rows, gold: str, predicted: str) -> Match:
    """The judge's outcome on a database with a witness's tables and some rows."""
    context = "; ".join(table.create for table in witness.tables)
    return Judge().judge(Pair(gold, predicted, context, database(file, rows, context)))
