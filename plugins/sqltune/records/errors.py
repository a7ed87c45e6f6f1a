"""Errors of the records."""

from __future__ import annotations

from sqltune.errors import SqltuneError


class SchemaError(SqltuneError):
    """The database has another schema than this code expects."""


class NotMigrated(SchemaError):
    """The database has no tables of sqltune."""


class OtherDatabase(SqltuneError):
    """This machine's database is not the one that the run was planned with."""


class LogStoreError(SqltuneError):
    """The log store cannot be written, or is not the one that the run was planned with."""


class UnknownRun(SqltuneError):
    """A run was named that the database does not know."""
