"""The connection to the records' database, its transactions, and its schema's revision.

SQLite (the default) runs in WAL mode, so that readers never wait for the writer. For workers on several
machines, set SQLTUNE_DATABASE_URL to a PostgreSQL database of its own:
`postgresql+psycopg2://user:password@host/sqltune`.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event, inspect, make_url, text
from sqlalchemy.exc import ArgumentError, IntegrityError
from sqlalchemy.orm import Session

from sqltune.records.errors import NotMigrated, SchemaError
from sqltune.records.settings import database_url

HEAD = "0011"
"""Revision of the schema that this code expects: the newest file in `migrations/versions`."""
VERSION_TABLE = "sqltune_schema"
"""Alembic's table; it has a name of its own, so that the records may share a database with others."""
REMEDY = "run: sqltune migrate"
BUSY_SECONDS = 30
"""How long a SQLite writer waits for another writer."""
SERVER_OPTIONS = {
    "connect_timeout": 10,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
}
"""libpq's: a PostgreSQL that is gone without a word is an error after a minute, and not a wait of hours."""
ATTEMPTS = 20
"""How often a write is tried that another writer got ahead of."""

T = TypeVar("T")

_engines: dict[str, Engine] = {}
_checked: set[str] = set()


def engine() -> Engine:
    """Return this process's engine for `database_url()`; a pool of connections that are tested before use."""
    url = database_url()
    if url not in _engines:
        _engines[url] = (
            _sqlite_engine(url) if make_url(url).get_backend_name() == "sqlite" else _server_engine(url)
        )
    return _engines[url]


def _forget_engines() -> None:
    """Leave the parent's connections to the parent: two processes must not talk over one socket."""
    for inherited in _engines.values():
        inherited.dispose(close=False)
    _engines.clear()


os.register_at_fork(after_in_child=_forget_engines)


def close() -> None:
    """Close this process's connections; the next use opens new ones."""
    for opened in _engines.values():
        opened.dispose()
    _engines.clear()
    _checked.clear()


def _server_engine(url: str) -> Engine:
    return create_engine(url, pool_pre_ping=True, connect_args=SERVER_OPTIONS)


def _sqlite_engine(url: str) -> Engine:
    path = make_url(url).database
    if path and not Path(path).exists():
        _create_sqlite_file(Path(path))
    made = create_engine(url, connect_args={"timeout": BUSY_SECONDS})

    @event.listens_for(made, "connect")
    def configure(connection: sqlite3.Connection, _: object) -> None:
        # The driver would begin transactions by itself, and only before the first write.
        connection.isolation_level = None
        # Changes nothing, and needs no lock, but in a file that another tool made (`VACUUM INTO`).
        connection.execute("PRAGMA journal_mode = WAL")
        # In WAL mode, NORMAL would lose the last commits in a power cut: a promotion, or an iteration whose
        # line was acknowledged to the host.
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")

    @event.listens_for(made, "begin")
    def begin(connection: Connection) -> None:
        # A transaction that reads first and writes later fails at once if another one wrote meanwhile:
        # one that will write takes the write lock from the start.
        writes = connection.get_execution_options().get("writes", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return made


def _create_sqlite_file(path: Path) -> None:
    """Create an empty database in WAL mode, at once: nobody sees one that is not in this mode yet.

    Two connections that change the mode of one file at the same time fail with "database is locked", however
    long they are told to wait.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=path.parent, prefix=f".{path.name}-") as folder:
        created = Path(folder, path.name)
        connection = sqlite3.connect(created)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.close()
        # Another process may have been first; then its file stays.
        with suppress(FileExistsError):
            path.hardlink_to(created)


@contextmanager
def reading() -> Iterator[Session]:
    """Open a session for queries."""
    check_schema()
    with Session(engine(), expire_on_commit=False) as session:
        yield session


@contextmanager
def writing() -> Iterator[Session]:
    """Open a session whose transaction is committed at the end, and rolled back after an exception."""
    check_schema()
    with Session(engine().execution_options(writes=True), expire_on_commit=False) as session, session.begin():
        yield session


def retried(write: Callable[[Session], T]) -> T:
    """Run a write that depends on what it has read, again whenever another writer got ahead of it.

    Args:
        write: Reads and writes within one transaction; the database's unique constraints refuse a second
            writer that has read the same.

    Raises:
        IntegrityError: It was refused time and again.
    """
    for attempt in range(ATTEMPTS):
        try:
            with writing() as session:
                return write(session)
        except IntegrityError:
            if attempt == ATTEMPTS - 1:
                raise
    raise AssertionError("unreachable")


def upsert(
    session: Session, table: Any, rows: list[dict[str, Any]], keys: list[str], update: bool = True
) -> None:
    """Insert rows; where their key is there already, replace the other columns, or leave them as they are.

    Args:
        session: A writing session.
        table: A mapped class.
        rows: Values by column; all rows name the same columns.
        keys: Columns of the primary key or of a unique constraint.
        update: False keeps the row that is there.
    """
    if not rows:
        return
    if session.get_bind().dialect.name == "sqlite":
        from sqlalchemy.dialects.sqlite import insert
    else:
        from sqlalchemy.dialects.postgresql import insert  # type: ignore[assignment] # same methods, another class
    statement = insert(table)
    replaced = {name: statement.excluded[name] for name in rows[0] if name not in keys} if update else {}
    session.execute(
        statement.on_conflict_do_update(index_elements=keys, set_=replaced)
        if replaced
        else statement.on_conflict_do_nothing(index_elements=keys),
        rows,
    )


def revision(connection: Connection) -> str | None:
    """Return the schema's revision, or None before the first migration."""
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    return connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar()


def check_schema() -> None:
    """Compare the database's schema with the one that this code expects, once in each process.

    Raises:
        NotMigrated: The schema is missing; the message says what to do.
        SchemaError: It is older or newer; the message says which and what to do.
    """
    url = database_url()
    if url in _checked:
        return
    with engine().connect() as connection:
        current = revision(connection)
    if current != HEAD:
        raise (NotMigrated if current is None else SchemaError)(mismatch(current))
    _checked.add(url)


def mismatch(current: str | None) -> str:
    """Say how the schema differs from the expected one, and what to do."""
    where = make_url(database_url()).render_as_string(hide_password=True)
    if current is None:
        return f"SQLTUNE_DATABASE_URL: {where} has no tables of sqltune: {REMEDY}"
    if current > HEAD:
        return (
            f"SQLTUNE_DATABASE_URL: {where} has schema {current}, newer than the {HEAD} that this version of "
            "sqltune expects: update sqltune on this machine"
        )
    return (
        f"SQLTUNE_DATABASE_URL: {where} has schema {current}, this version of sqltune expects {HEAD}: "
        f"{REMEDY}"
    )


def describe(error: Exception) -> str:
    """Say in one line that the database cannot be used, why, and what to do.

    Args:
        error: What SQLAlchemy or the operating system raised.
    """
    try:
        where = make_url(database_url()).render_as_string(hide_password=True)
    except ArgumentError:
        # It is not repeated: it may hold a password all the same.
        return (
            "SQLTUNE_DATABASE_URL is not a SQLAlchemy URL: write it as "
            "postgresql+psycopg2://user:password@host/sqltune, or leave it empty for a SQLite file"
        )
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    return (
        f"SQLTUNE_DATABASE_URL: {where} cannot be used ({reason}): correct the address, or make the database "
        "there reachable and writable"
    )
