"""Databases for tests: SQLite files and the wheel's PostgreSQL, each migrated once and then copied."""

from __future__ import annotations

import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg2
import pytest
from sqlalchemy import event

from lab.postgres import as_postgres_user, initialise, postgres_bin
from sqltune.records import database
from sqltune.records.migrate import migrate
from tests.waiting import wait_until


class Postgres:
    """A running server that listens on a Unix socket only."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.binaries = postgres_bin()
        if self.binaries is None:
            pytest.fail("PostgreSQL is not installed: make setup-dev")
        self._count = 0

    def initialise(self) -> None:
        """Create the server's files."""
        initialise(self.binaries, self.folder / "data", "sqltune")

    def start(self) -> None:
        """Start the server and wait until it accepts a connection."""
        options = ("-k", self.folder, "-c", "listen_addresses=", "-c", "fsync=off")
        command = as_postgres_user(f"{self.binaries}/postgres", "-D", self.folder / "data", *options)
        with (self.folder / "log").open("a") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        wait_until(
            lambda: self.execute("SELECT 1") is None,
            seconds=60,
            problem=lambda: (self.folder / "log").read_text()[-2000:],
            not_yet=psycopg2.OperationalError,
        )

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Shut the server down; connections to it are cut. SIGQUIT writes nothing more to its files."""
        self.process.send_signal(how)
        self.process.wait(60)

    def execute(self, statement: str) -> None:
        """Run a statement in the maintenance database."""
        connection = psycopg2.connect(host=str(self.folder), user="sqltune", dbname="postgres")
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement)
        connection.close()

    def url(self, name: str) -> str:
        """Return the SQLAlchemy URL of a database."""
        return f"postgresql+psycopg2://sqltune@/{name}?host={self.folder}"

    @contextmanager
    def new_database(self, template: str = "template1") -> Iterator[str]:
        """Create a database, and drop it afterwards; its URL."""
        self._count += 1
        name = f"d{self._count}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        yield self.url(name)
        database.close()
        self.execute(f"DROP DATABASE {name} WITH (FORCE)")


@contextmanager
def running_postgres() -> Iterator[Postgres]:
    """Run a server with a database `migrated`, to copy others from."""
    # A short path: a socket's may have 107 bytes. In memory where that is possible: nothing has to survive.
    memory = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(prefix="sqltune-pg-", dir=memory if memory.is_dir() else "/tmp"))
    server = Postgres(folder)
    try:
        server.initialise()
        server.start()
        server.execute("CREATE DATABASE migrated")
        migrated(server.url("migrated"))
        yield server
    finally:
        server.stop(signal.SIGQUIT)
        shutil.rmtree(folder)


def migrated(url: str) -> str:
    """Migrate a database; return its URL."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SQLTUNE_DATABASE_URL", url)
        migrate()
        database.close()
    return url


@contextmanager
def statements() -> Iterator[list[str]]:
    """The SQL that this process sends to the records' database."""
    sent: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        sent.append(statement)

    engine = database.engine()
    event.listen(engine, "before_cursor_execute", note)
    try:
        yield sent
    finally:
        event.remove(engine, "before_cursor_execute", note)
