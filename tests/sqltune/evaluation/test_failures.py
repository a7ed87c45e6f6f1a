"""SQLite's errors as failure classes."""

from __future__ import annotations

import sqlite3

import pytest

from sqltune.evaluation.failures import MAX_REASON, classify


@pytest.mark.parametrize(
    ("error", "failure_class"),
    [
        (sqlite3.OperationalError("no such table: u"), "unknown_table"),
        (sqlite3.OperationalError('near "x": syntax error'), "syntax"),
        (sqlite3.OperationalError("interrupted"), "timeout"),
        (sqlite3.OperationalError("something new"), "other"),
        (sqlite3.DatabaseError("not authorized"), "forbidden"),
        (UnicodeEncodeError("utf-8", "x", 0, 1, "surrogates not allowed"), "syntax"),
        (OverflowError("too large to convert"), "too_large"),
        (MemoryError(), "too_large"),
    ],
)
def test_error_has_a_class(error, failure_class):
    assert classify(error).failure_class == failure_class


def test_error_without_a_message_is_named_by_its_type():
    assert str(classify(MemoryError())) == "MemoryError"


def test_long_message_is_cut():
    assert len(str(classify(sqlite3.OperationalError("x" * 1000)))) == MAX_REASON
