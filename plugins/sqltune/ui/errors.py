"""Errors of the page's API."""

from __future__ import annotations

from sqltune.errors import SqltuneError


class NotRecorded(SqltuneError):
    """The records hold nothing under that name."""
