"""Why a query does not run: the failure classes, and SQLite's errors sorted into them."""

from __future__ import annotations

from typing import Literal, get_args

FailureClass = Literal[
    "syntax",
    "unknown_table",
    "unknown_column",
    "timeout",
    "not_a_select",
    "several_statements",
    "forbidden",
    "too_large",
    "other",
]

FAILURE_CLASSES: tuple[FailureClass, ...] = get_args(FailureClass)
"""Every class, in the order in which reports list them."""

MAX_REASON = 300
"""Characters of SQLite's message that are kept; it may quote the whole query."""

_BY_MESSAGE: tuple[tuple[str, FailureClass], ...] = (
    ("interrupted", "timeout"),
    ("no such table", "unknown_table"),
    ("no such column", "unknown_column"),
    ("only execute one statement", "several_statements"),
    ("not authorized", "forbidden"),
    ("authorization denied", "forbidden"),
    ("prohibited", "forbidden"),
    ("out of memory", "too_large"),
    ("too big", "too_large"),
    ("too large", "too_large"),
    ("too many", "too_large"),
    ("too long", "too_large"),
    ("too complex", "too_large"),
    ("too much", "too_large"),
    ("at most", "too_large"),
    ("disk is full", "too_large"),
    ("disk i/o", "too_large"),
    ("stack overflow", "too_large"),
    ("parser stack", "too_large"),
    ("syntax error", "syntax"),
    ("unrecognized token", "syntax"),
    ("incomplete input", "syntax"),
    ("null character", "syntax"),
)
"""Parts of SQLite's messages, first match wins: its error codes do not tell these apart."""


class QueryFailed(Exception):
    """A query that returned no rows.

    Attributes:
        failure_class: why, as one of `FAILURE_CLASSES`.
    """

    def __init__(self, failure_class: FailureClass, reason: str) -> None:
        super().__init__(reason)
        self.failure_class = failure_class


def classify(error: BaseException) -> QueryFailed:
    """Sort what sqlite3 raised for a query into a failure class.

    Args:
        error: an exception from sqlite3, or one that Python raised on the way to it.
    """
    message = str(error) or type(error).__name__
    if isinstance(error, MemoryError | RecursionError | OverflowError):
        return QueryFailed("too_large", message)
    if isinstance(error, UnicodeError | ValueError):
        return QueryFailed("syntax", message)
    return QueryFailed(_class_of(message.lower()), message[:MAX_REASON])


def _class_of(message: str) -> FailureClass:
    for part, failure_class in _BY_MESSAGE:
        if part in message:
            return failure_class
    return "other"
