"""What all tables have in common."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, MetaData, Text
from sqlalchemy.orm import DeclarativeBase

from sqltune.records.types import UtcDateTime

Json = dict[str, Any]
"""A document whose fields another module's model defines; the database stores it and never looks inside."""


class Base(DeclarativeBase):
    """Base of all tables; constraints have names, so that a migration can refer to them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {str: Text, datetime: UtcDateTime, Json: JSON, list[Any]: JSON}  # noqa: RUF012 # SQLAlchemy's own


CLUSTERED = {"sqlite_with_rowid": False}
"""SQLite keeps the rows of such a table in the order of their primary key: one run's rows lie together."""
