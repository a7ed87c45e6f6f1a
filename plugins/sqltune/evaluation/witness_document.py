"""The parts of a witness as JSON, made where its queries run; `explanation` has the models."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import Any

from sqltune.evaluation.sandbox import Row

Json = dict[str, Any]

MAX_ROWS_SHOWN = 50
"""Rows of a table or a result that are shown."""
MAX_TEXT_SHOWN = 200
"""Characters of a value or a name that are shown."""


def table_document(
    name: str, columns: Sequence[str], read: Collection[str], create: str, rows: Sequence[Row]
) -> Json:
    """Return `WitnessTable` as JSON.

    Args:
        name: name of the table.
        columns: names of its columns.
        read: those that a query reads.
        create: its CREATE TABLE statement.
        rows: its rows.
    """
    return {
        "name": name,
        "columns": [_text(column) for column in columns],
        "read": [_text(column) for column in columns if column in read],
        "create": create,
        "rows": [_row(row) for row in rows[:MAX_ROWS_SHOWN]],
        "row_count": len(rows),
    }


def result_document(columns: Sequence[str], rows: Sequence[Row], different: Collection[int]) -> Json:
    """Return `WitnessResult` as JSON.

    Args:
        columns: names of its columns.
        rows: its rows.
        different: positions of those without a partner in the other result; of many rows, these are shown.
    """
    first = sorted(range(len(rows)), key=lambda position: (position not in different, position))
    shown = sorted(first[:MAX_ROWS_SHOWN])
    return {
        "columns": [_text(column) for column in columns],
        "rows": [_row(rows[position]) for position in shown],
        "row_count": len(rows),
        "different": [at for at, position in enumerate(shown) if position in different],
    }


def _row(row: Row) -> list[object]:
    return [_value(value) for value in row]


def _value(value: object) -> object:
    """A value as JSON has it: infinities and blobs as text, text not longer than a person reads."""
    if isinstance(value, bytes):
        return _text(f"x'{value[:MAX_TEXT_SHOWN].hex()}'")
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return _text(value) if isinstance(value, str) else value


def _text(text: str) -> str:
    return text if len(text) <= MAX_TEXT_SHOWN else f"{text[:MAX_TEXT_SHOWN]}…"
