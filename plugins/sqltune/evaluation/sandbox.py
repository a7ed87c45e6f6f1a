"""Runs model-written SQL read-only; it is hostile until proven otherwise.

The protections, from the inside out:

1. SQLite's authorizer permits reading and nothing else.
2. SQLite's own limits bound the length, the depth and the memory of a query.
3. A progress handler bounds its time. A thread or a signal does not end a query; the handler does.
4. Rows and cells are counted while they are fetched.
5. The process gives up the right to write files and to take more memory (`confine`).

None of these stops a single function call that never returns: `execution_match` kills its process.
"""

from __future__ import annotations

import math
import resource
import sqlite3
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sqltune.evaluation.failures import QueryFailed, classify
from sqltune.sql.names import quoted
from sqltune.sql.queries import first_word
from sqltune.sql.tokens import MAX_LENGTH

MAX_SECONDS = 2.0
"""Seconds one query may take."""
MAX_ROWS = 200_000
"""Rows of one result."""
MAX_CELLS = 2_000_000
"""Rows times columns of one result."""
MAX_TEXT = 1_000_000
"""Bytes of one value."""
MAX_HEAP = 256 * 1024**2
"""Bytes SQLite may allocate."""
MAX_MEMORY = 1024**3
"""Bytes of address space of the whole process."""

_LIMITS = {
    sqlite3.SQLITE_LIMIT_LENGTH: MAX_TEXT,
    sqlite3.SQLITE_LIMIT_SQL_LENGTH: MAX_LENGTH,
    sqlite3.SQLITE_LIMIT_EXPR_DEPTH: 200,
    sqlite3.SQLITE_LIMIT_COMPOUND_SELECT: 50,
    sqlite3.SQLITE_LIMIT_ATTACHED: 0,
    sqlite3.SQLITE_LIMIT_LIKE_PATTERN_LENGTH: 1000,
    sqlite3.SQLITE_LIMIT_FUNCTION_ARG: 32,
    sqlite3.SQLITE_LIMIT_WORKER_THREADS: 0,
    sqlite3.SQLITE_LIMIT_COLUMN: 500,
}
"""SQLite's own limits: far above what an answer to a question needs, far below what exhausts a machine."""

_PROGRESS_STEPS = 2000
"""SQLite instructions between two checks of the time: well under a millisecond, at no measurable cost."""
_FETCH_ROWS = 200
"""Rows fetched between two checks of the limits."""

_NOT_UTF_8 = "Could not decode to UTF-8"
"""How the message begins with which sqlite3 refuses a text."""
_READING = {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE}
_SELECTING_WORDS = ("select", "with", "values")

_FORBIDDEN_FUNCTIONS = {
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
"""SQLite functions that load code, touch files or reveal memory.

Several exist only in SQLite's shell, but a build may include them.
"""

Row = tuple[object, ...]


@dataclass(frozen=True)
class Result:
    """What a query returned.

    Attributes:
        columns: names of its columns.
        rows: its rows.
    """

    columns: tuple[str, ...]
    rows: list[Row]


def confine() -> None:
    """Give up this process's right to write files and to take more memory. It can't be regained."""
    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY, MAX_MEMORY))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


class Database:
    """A database that is read-only from now on.

    Args:
        connection: an open connection; `open_file` makes one for a file, `synthetic.build` one in memory.
        max_steps: SQLite instructions that all its queries together may take, which is the same on every
            machine; by default only the time of each is bounded.

    Attributes:
        max_steps: SQLite instructions that may be counted.
        steps: those counted so far.
        reads: tables and columns that queries were compiled to read; the column is empty where only rows
            are counted.
    """

    def __init__(self, connection: sqlite3.Connection, max_steps: float = math.inf) -> None:
        self._connection = connection
        self.max_steps = max_steps
        self._write_attempted = False
        self._refilling = False
        self.steps = 0
        self.reads: set[tuple[str, str]] = set()
        connection.execute("PRAGMA query_only = 1")
        connection.execute("PRAGMA temp_store = MEMORY")
        connection.execute(f"PRAGMA hard_heap_limit = {MAX_HEAP}")
        for limit, value in _LIMITS.items():
            connection.setlimit(limit, value)
        connection.set_authorizer(self._authorize)

    @classmethod
    def open_file(cls, path: Path) -> Database:
        """Open a database file read-only and immutable, so that not even a lock file is written beside it."""
        uri = f"{path.resolve().as_uri()}?mode=ro&immutable=1"
        return cls(sqlite3.connect(uri, uri=True, isolation_level=None))

    def _authorize(self, action: int, first: str | None, second: str | None, *_: str | None) -> int:
        if self._refilling:
            return sqlite3.SQLITE_OK
        if action not in _READING:
            self._write_attempted = True
            return sqlite3.SQLITE_DENY
        if action == sqlite3.SQLITE_FUNCTION and (second or "").lower() in _FORBIDDEN_FUNCTIONS:
            return sqlite3.SQLITE_DENY
        if action == sqlite3.SQLITE_READ:
            self.reads.add((first or "", second or ""))
        return sqlite3.SQLITE_OK

    def refill(self, tables: Mapping[str, Sequence[Row]]) -> None:
        """Replace the rows of tables; no query may be running.

        Args:
            tables: the new rows, by table.

        Raises:
            sqlite3.Error: a row does not fit its table.
        """
        self._refilling = True
        try:
            self._connection.execute("PRAGMA query_only = 0")
            for table, rows in tables.items():
                self._connection.execute(f"DELETE FROM {quoted(table)}")
                if rows:
                    values = ", ".join("?" * len(rows[0]))
                    self._connection.executemany(f"INSERT INTO {quoted(table)} VALUES ({values})", rows)
        finally:
            # The connection keeps compiled statements by their text. This makes SQLite compile them anew, so
            # that the authorizer is asked again should a query repeat one of those above.
            self._connection.execute("PRAGMA query_only = 1")
            self._refilling = False

    def rows(self, query: str) -> list[Row]:
        """Return the rows of one SELECT.

        Raises:
            QueryFailed: the query is not one SELECT, does not run, or exceeds a limit.
        """
        return self.result(query).rows

    def result(self, query: str) -> Result:
        """Return the columns and rows of one SELECT.

        Raises:
            QueryFailed: the query is not one SELECT, does not run, or exceeds a limit.
        """
        if len(query) > MAX_LENGTH:
            raise QueryFailed("too_large", f"{len(query)} characters, at most {MAX_LENGTH} allowed")
        word = first_word(query)
        if not word:
            raise QueryFailed("syntax", "contains no SQL")
        deadline = time.monotonic() + MAX_SECONDS
        self._connection.set_progress_handler(lambda: self._exceeded(deadline), _PROGRESS_STEPS)
        self._write_attempted = False
        try:
            try:
                return _fetch(self._connection.execute(query), word, deadline)
            except sqlite3.OperationalError as e:
                if not str(e).startswith(_NOT_UTF_8):
                    raise
                # Few databases hold such text, and a function of Python's for each value takes time.
                self._connection.text_factory = lambda raw: raw.decode("utf-8", "replace")
                return _fetch(self._connection.execute(query), word, deadline)
        except (sqlite3.Error, sqlite3.Warning, ValueError, MemoryError, RecursionError, OverflowError) as e:
            raise self._failure(e, word) from None
        finally:
            self._connection.set_progress_handler(None, 0)

    def _exceeded(self, deadline: float) -> bool:
        self.steps += _PROGRESS_STEPS
        return time.monotonic() > deadline or self.steps > self.max_steps

    def _failure(self, error: BaseException, word: str) -> QueryFailed:
        failure = classify(error)
        if failure.failure_class == "timeout":
            return _timeout()
        if (
            failure.failure_class == "forbidden"
            and self._write_attempted
            and word not in ("select", "values")
        ):
            return _not_a_select(word)
        return failure

    def close(self) -> None:
        """Close the connection; a database in memory is gone."""
        self._connection.close()


def _fetch(cursor: sqlite3.Cursor, word: str, deadline: float) -> Result:
    if cursor.description is None or word not in _SELECTING_WORDS:
        raise _not_a_select(word)
    columns = len(cursor.description)
    most = max(1, min(MAX_ROWS, MAX_CELLS // max(1, columns)))
    rows: list[Row] = []
    while part := cursor.fetchmany(_FETCH_ROWS):
        rows += part
        if len(rows) > most:
            raise QueryFailed("too_large", f"more than {most} rows of {columns} columns")
        if time.monotonic() > deadline:
            raise _timeout()
    return Result(tuple(name for name, *_ in cursor.description), rows)


def _timeout() -> QueryFailed:
    return QueryFailed("timeout", f"took longer than {MAX_SECONDS:g} s")


def _not_a_select(word: str) -> QueryFailed:
    return QueryFailed("not_a_select", f"{word.upper()[:30]} is not a SELECT")
