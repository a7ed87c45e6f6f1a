"""The schema of a question: its CREATE TABLE statements, as SQLite itself reads them."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from sqltune.sql.create_table import quote_context
from sqltune.sql.names import quoted

_NUMERIC = re.compile(r"INT|NUM|REAL|FLOA|DOUB|DEC|BOOL", re.I)
_TIME = re.compile(r"TIME|DATE|YEAR", re.I)


Kind = Literal["number", "time", "text"]

Place = tuple[str, str]
"""A column: its table and its name, in lower case."""

_READING = frozenset(
    {
        sqlite3.SQLITE_CREATE_TABLE,
        sqlite3.SQLITE_CREATE_INDEX,
        sqlite3.SQLITE_INSERT,
        sqlite3.SQLITE_UPDATE,
        sqlite3.SQLITE_READ,
        sqlite3.SQLITE_REINDEX,
        sqlite3.SQLITE_TRANSACTION,
    }
)
"""What SQLite does for a CREATE TABLE statement, and all that a context may do."""


@dataclass(frozen=True)
class Column:
    """A column of a context."""

    name: str
    kind: Kind
    key: bool = False
    """Whether it is part of the PRIMARY KEY."""


@dataclass(frozen=True)
class Table:
    """A table of a context."""

    name: str
    columns: tuple[Column, ...]


@lru_cache(maxsize=512)
def parse_context(context: str) -> tuple[tuple[Table, ...], tuple[tuple[Place, Place], ...]]:
    """Read CREATE TABLE statements.

    Args:
        context: the statements, hostile ones included: nothing but tables can come of them.

    Returns:
        The tables; and the foreign keys as pairs of referring and referred column.

    Raises:
        sqlite3.Error: a statement can't be read, or is not a CREATE TABLE; with SQLite's message.
    """
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.set_authorizer(
            lambda action, *_: sqlite3.SQLITE_OK if action in _READING else sqlite3.SQLITE_DENY
        )
        connection.executescript(quote_context(context, every=True))
        connection.set_authorizer(None)
        names = connection.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY rowid"
        ).fetchall()
        tables = tuple(Table(name, _columns(connection, name)) for (name,) in names)
        return tables, tuple(key for (name,) in names for key in _foreign_keys(connection, name))


def _columns(connection: sqlite3.Connection, table: str) -> tuple[Column, ...]:
    rows = connection.execute(f"PRAGMA table_info({quoted(table)})")
    return tuple(Column(name, _kind(declared), bool(key)) for _, name, declared, _, _, key in rows)


def _kind(declared: str) -> Kind:
    """The kind of a column by its declared type."""
    return "time" if _TIME.search(declared) else "number" if _NUMERIC.search(declared) else "text"


def _foreign_keys(connection: sqlite3.Connection, table: str) -> Iterator[tuple[Place, Place]]:
    for row in connection.execute(f"PRAGMA foreign_key_list({quoted(table)})"):
        _, _, other, column, other_column, *_ = row
        # A reference without a column means the other table's key; it gives no hint.
        if other_column:
            yield (table.lower(), column.lower()), (other.lower(), other_column.lower())


_AFFINITY: dict[Kind, str] = {"number": "NUMERIC", "time": "TEXT", "text": "TEXT"}


def schema(context: str) -> sqlite3.Connection:
    """Create a context's tables in memory, without a row.

    Raises:
        sqlite3.Error: the context can't be read, or describes no table.
    """
    tables, _ = parse_context(context)
    if not tables:
        raise sqlite3.OperationalError("the context has no CREATE TABLE")
    connection = sqlite3.connect(":memory:", isolation_level=None)
    for table in tables:
        columns = ", ".join(f"{quoted(c.name)} {_AFFINITY[c.kind]}" for c in table.columns)
        connection.execute(f"CREATE TABLE {quoted(table.name)} ({columns})")
    return connection


def names_in(connection: sqlite3.Connection) -> list[str]:
    """The names of all tables and columns of a database."""
    rows = connection.execute(
        "SELECT m.name, c.name FROM sqlite_master AS m JOIN pragma_table_info(m.name) AS c "
        "WHERE m.type IN ('table', 'view')"
    ).fetchall()
    return list(dict.fromkeys(name for row in rows for name in row))
