"""Bring the database's schema up to date: `sqltune migrate`."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from sqlalchemy import Connection, create_engine, make_url, text
from sqlalchemy.exc import IntegrityError, OperationalError, ProgrammingError

from sqltune.records import database
from sqltune.records.errors import SchemaError
from sqltune.records.settings import database_url

MIGRATIONS = Path(__file__).parent / "migrations"
EXISTS = text("SELECT 1 FROM pg_database WHERE datname = :name")
LOCK = 7130251
"""Number of PostgreSQL's advisory lock: any that nothing else in the database uses."""


def migrate() -> str:
    """Create or upgrade the database and its tables; two processes may do so at the same time.

    Returns:
        The revision that the schema has now.
    """
    _create_missing_database()
    with database.engine().execution_options(writes=True).connect() as connection, connection.begin():
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
        current = database.revision(connection)
        if current is None or current < database.HEAD:
            upgrade(connection)
        elif current > database.HEAD:
            raise SchemaError(database.mismatch(current))
    return database.HEAD


def _create_missing_database() -> None:
    """Create a PostgreSQL database that does not exist; SQLite creates its file itself."""
    url = make_url(database_url())
    try:
        database.engine().connect().close()
    except OperationalError:
        if url.get_backend_name() != "postgresql":
            raise
        server = create_engine(url.set(database="postgres"), isolation_level="AUTOCOMMIT")
        with server.connect() as connection:
            if not connection.scalar(EXISTS, {"name": url.database}):
                name = connection.dialect.identifier_preparer.quote_identifier(url.database or "")
                # Another one may have created it meanwhile.
                with suppress(ProgrammingError, IntegrityError):
                    connection.exec_driver_sql(f"CREATE DATABASE {name}")
        server.dispose()


def upgrade(connection: Connection, revision: str = "head") -> None:
    """Run the migrations that are missing up to a revision, within the connection's transaction."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    command.upgrade(config, revision)
