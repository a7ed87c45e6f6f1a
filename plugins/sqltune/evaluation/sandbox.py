"""Model-written SQL, run so that it can only read: hostile until proven otherwise.

What holds it, from the inside out: SQLite's authorizer lets reading through and nothing else; SQLite's own limits on length, depth and memory; a
progress handler for the time (a thread or a signal does not end a query, the handler does); a limit on rows and cells; the process has no right to
write a file and none to take more memory. What none of these ends, such as one call of a function that never comes back, is ended by killing the process,
which is `execution_match`'s part.
"""

from __future__ import annotations

import resource
import sqlite3
import time
from pathlib import Path
from typing import Literal

from sqltune.sql.tokens import MAX_LENGTH, first_word

MAX_SECONDS = 2.0
MAX_ROWS = 200_000
MAX_CELLS = 2_000_000
MAX_TEXT = 1_000_000
"""Bytes of one value."""
MAX_HEAP = 256 * 1024**2
"""Bytes SQLite may take."""
MAX_MEMORY = 1024**3
"""Bytes of address space of the whole process."""

Trouble = Literal[
    "syntax",
    "unknown_table",
    "unknown_column",
    "timeout",
    "not_a_select",
    "several_statements",
    "forbidden",
    "too_large",
    "other",
]
TROUBLES: tuple[Trouble, ...] = (
    "syntax",
    "unknown_table",
    "unknown_column",
    "timeout",
    "not_a_select",
    "several_statements",
    "forbidden",
    "too_large",
    "other",
)

Row = tuple[object, ...]


class Refused(Exception):
    """A query that gave no rows: `trouble` is its class, the message what SQLite said."""

    def __init__(self, trouble: Trouble, reason: str) -> None:
        super().__init__(reason)
        self.trouble = trouble


_READING = {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE}
# Of SQLite's own functions: those that load, write, read files, or show memory. Several exist in its shell only; a build may have them.
_FORBIDDEN = {
    "load_extension",
    "writefile",
    "readfile",
    "edit",
    "fts3_tokenizer",
    "fts5",
    "sqlite_compileoption_get",
    "sqlite_compileoption_used",
    "randomblob",
    "zeroblob",
    "lsdir",
    "fsdir",
    "zipfile",
    "eval",
}
_CLASSES: tuple[tuple[str, Trouble], ...] = (
    ("interrupted", "timeout"),
    ("no such table", "unknown_table"),
    ("no such column", "unknown_column"),
    ("only execute one statement", "several_statements"),
    ("not authorized", "forbidden"),
    ("authorization denied", "forbidden"),
    ("prohibited", "forbidden"),
    ("out of memory", "too_large"),
    ("too big", "too_large"),
    ("too large", "too_large"),
    ("too many", "too_large"),
    ("too long", "too_large"),
    ("too complex", "too_large"),
    ("too much", "too_large"),
    ("at most", "too_large"),
    ("disk is full", "too_large"),
    ("disk i/o", "too_large"),
    ("stack overflow", "too_large"),
    ("parser stack", "too_large"),
    ("syntax error", "syntax"),
    ("unrecognized token", "syntax"),
    ("incomplete input", "syntax"),
    ("null character", "syntax"),
)


def _classified(error: BaseException) -> Refused:
    """SQLite's words as a class."""
    words = str(error) or type(error).__name__
    if isinstance(error, MemoryError | RecursionError | OverflowError):
        return Refused("too_large", words)
    if isinstance(error, UnicodeError | ValueError):
        return Refused("syntax", words)
    lower = words.lower()
    trouble = next((t for part, t in _CLASSES if part in lower), "other")
    return Refused(trouble, f"took longer than {MAX_SECONDS:g} s" if trouble == "timeout" else words[:300])


def confine() -> None:
    """Take from this process the right to write a file and to take much memory. There is no way back."""
    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY, MAX_MEMORY))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


class Database:
    """A database that can only be read from now on.

    :param connection: opened by `open_file`, or filled by `made_database`.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._writing = False
        connection.execute("PRAGMA query_only = 1")
        connection.execute("PRAGMA temp_store = MEMORY")
        connection.execute(f"PRAGMA hard_heap_limit = {MAX_HEAP}")
        for limit, value in (
            (sqlite3.SQLITE_LIMIT_LENGTH, MAX_TEXT),
            (sqlite3.SQLITE_LIMIT_SQL_LENGTH, MAX_LENGTH),
            (sqlite3.SQLITE_LIMIT_EXPR_DEPTH, 200),
            (sqlite3.SQLITE_LIMIT_COMPOUND_SELECT, 50),
            (sqlite3.SQLITE_LIMIT_ATTACHED, 0),
            (sqlite3.SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 1000),
            (sqlite3.SQLITE_LIMIT_FUNCTION_ARG, 32),
            (sqlite3.SQLITE_LIMIT_WORKER_THREADS, 0),
            (sqlite3.SQLITE_LIMIT_COLUMN, 500),
        ):
            connection.setlimit(limit, value)
        connection.text_factory = lambda raw: raw.decode("utf-8", "replace")
        connection.set_authorizer(self._authorize)

    @classmethod
    def open_file(cls, path: Path) -> Database:
        """A database file: read only, and taken as it is, so that not even a lock is written beside it."""
        return cls(
            sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro&immutable=1", uri=True, isolation_level=None)
        )

    def _authorize(self, action: int, first: str | None, second: str | None, *_: str | None) -> int:
        if action in _READING and not (
            action == sqlite3.SQLITE_FUNCTION and (second or "").lower() in _FORBIDDEN
        ):
            return sqlite3.SQLITE_OK
        self._writing = self._writing or action not in _READING
        return sqlite3.SQLITE_DENY

    def rows(self, query: str) -> list[Row]:
        """The rows of one SELECT; `Refused` for anything else, and beyond the limits."""
        if len(query) > MAX_LENGTH:
            raise Refused("too_large", f"{len(query)} characters, {MAX_LENGTH} allowed")
        word = first_word(query)
        if not word:
            raise Refused("syntax", "there is no SQL in it")
        deadline = time.monotonic() + MAX_SECONDS
        self._connection.set_progress_handler(lambda: time.monotonic() > deadline, 2000)
        self._writing = False
        try:
            return self._fetched(self._connection.execute(query), word, deadline)
        except (sqlite3.Error, sqlite3.Warning, ValueError, MemoryError, RecursionError, OverflowError) as e:
            refused = _classified(e)
            if refused.trouble == "forbidden" and self._writing and word not in ("select", "values"):
                refused = Refused("not_a_select", f"{word.upper()} is not a SELECT")
            raise refused from None
        finally:
            self._connection.set_progress_handler(None, 0)

    @staticmethod
    def _fetched(cursor: sqlite3.Cursor, word: str, deadline: float) -> list[Row]:
        if cursor.description is None or word not in ("select", "with", "values"):
            raise Refused("not_a_select", f"{word.upper()[:30]} is not a SELECT")
        most = max(1, min(MAX_ROWS, MAX_CELLS // max(1, len(cursor.description))))
        rows: list[Row] = []
        while part := cursor.fetchmany(200):
            rows += part
            if len(rows) > most:
                raise Refused("too_large", f"more than {most} rows of {len(cursor.description)} columns")
            if time.monotonic() > deadline:
                raise Refused("timeout", f"took longer than {MAX_SECONDS:g} s")
        return rows

    def close(self) -> None:
        """Give its memory back."""
        self._connection.close()
