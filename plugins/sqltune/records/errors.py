"""Errors of the records."""

from __future__ import annotations

from sqltune.errors import SqltuneError


class SchemaError(SqltuneError):
    """The database has another schema than this code expects."""


class LogStoreError(SqltuneError):
    """The log store cannot be written."""


class UnknownRun(SqltuneError):
    """A run was named that the database does not know."""
