"""Alembic's entry: it runs within the transaction that `sqltune.records.migrate` has opened."""

from alembic import context

# The tables enter Base's metadata.
from sqltune.records import estimate_tables, models, revision_tables  # noqa: F401
from sqltune.records.base import Base
from sqltune.records.database import VERSION_TABLE

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    version_table=VERSION_TABLE,
    # SQLite can't alter most of a table in place: Alembic copies it.
    render_as_batch=True,
)
context.run_migrations()
