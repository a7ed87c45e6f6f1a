"""Bring the database's schema up to date: `sqltune migrate`."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, text

from sqltune.records import database
from sqltune.records.errors import SchemaError

MIGRATIONS = Path(__file__).parent / "migrations"
LOCK = 7130251
"""Number of PostgreSQL's advisory lock: any that nothing else in the database uses."""


def migrate() -> str:
    """Create or upgrade the tables; two that do it at the same time do it once.

    Returns:
        The revision that the schema has now.
    """
    with database.engine().execution_options(writes=True).connect() as connection, connection.begin():
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
        found = database.revision(connection)
        if found is None or found < database.HEAD:
            upgrade(connection)
        elif found > database.HEAD:
            raise SchemaError(database.mismatch(found))
    return database.HEAD


def upgrade(connection: Connection) -> None:
    """Run the migrations that are missing, within the connection's transaction."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
