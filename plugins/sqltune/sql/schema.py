"""The CREATE TABLE statements of a question, as SQLite itself reads them."""

from __future__ import annotations

import re
import sqlite3
from dataclasses import dataclass
from functools import lru_cache

from sqltune.sql.create_table import quote_context
from sqltune.sql.names import quoted

_NUMERIC = re.compile(r"INT|NUM|REAL|FLOA|DOUB|DEC|BOOL", re.I)
_TIME = re.compile(r"TIME|DATE|YEAR", re.I)


@dataclass(frozen=True)
class Column:
    """A column of a context: `kind` is number, time or text."""

    name: str
    kind: str
    key: bool = False


@dataclass(frozen=True)
class Table:
    """A table of a context."""

    name: str
    columns: tuple[Column, ...]


@lru_cache(maxsize=512)
def parse_context(
    context: str,
) -> tuple[tuple[Table, ...], tuple[tuple[tuple[str, str], tuple[str, str]], ...]]:
    """Tables of CREATE TABLE statements, and foreign keys as pairs of (table, column) in lower case, as SQLite itself reads them.

    sqlite3.Error with SQLite's words for a statement that it can't read, or that is no CREATE TABLE.
    """
    connection = sqlite3.connect(":memory:")
    allowed = {
        sqlite3.SQLITE_CREATE_TABLE,
        sqlite3.SQLITE_CREATE_INDEX,
        sqlite3.SQLITE_INSERT,
        sqlite3.SQLITE_UPDATE,
        sqlite3.SQLITE_READ,
        sqlite3.SQLITE_REINDEX,
        sqlite3.SQLITE_TRANSACTION,
    }
    connection.set_authorizer(
        lambda action, *_: sqlite3.SQLITE_OK if action in allowed else sqlite3.SQLITE_DENY
    )
    connection.executescript(quote_context(context, every=True))
    connection.set_authorizer(None)
    found, foreign = [], []
    for (name,) in connection.execute(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY rowid"
    ).fetchall():
        columns = []
        for _, column, declared, _, _, primary in connection.execute(f"PRAGMA table_info({quoted(name)})"):
            kind = "time" if _TIME.search(declared) else "number" if _NUMERIC.search(declared) else "text"
            columns.append(Column(column, kind, bool(primary)))
        for _, _, other, mine, theirs, *_ in connection.execute(f"PRAGMA foreign_key_list({quoted(name)})"):
            if theirs:
                foreign.append(((name.lower(), mine.lower()), (other.lower(), theirs.lower())))
        found.append(Table(name, tuple(columns)))
    connection.close()
    return tuple(found), tuple(foreign)


_AFFINITY = {"number": "NUMERIC", "time": "TEXT", "text": "TEXT"}


def schema(context: str) -> sqlite3.Connection:
    """A context's tables without a row, in memory. sqlite3.Error when the context can't be read, or describes no table."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    tables, _ = parse_context(context)
    if not tables:
        raise sqlite3.OperationalError("the context has no CREATE TABLE")
    for table in tables:
        connection.execute(
            f"CREATE TABLE {quoted(table.name)} ({', '.join(f'{quoted(c.name)} {_AFFINITY[c.kind]}' for c in table.columns)})"
        )
    return connection


def names_in(connection: sqlite3.Connection) -> list[str]:
    """The names of all tables and columns of a database."""
    rows = connection.execute(
        "SELECT m.name, c.name FROM sqlite_master AS m JOIN pragma_table_info(m.name) AS c "
        "WHERE m.type IN ('table', 'view')"
    ).fetchall()
    return list(dict.fromkeys(name for row in rows for name in row))
