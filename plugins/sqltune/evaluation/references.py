"""Which columns refer to which: the declared foreign keys, and what queries join."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqltune.evaluation.column_roles import key_strength
from sqltune.evaluation.query_hints import hints_of
from sqltune.sql.schema import Place, Table

Reference = tuple[Place, Place]
"""A referring column, and the column it refers to."""


def references(
    tables: Sequence[Table], foreign_keys: Iterable[Reference], gold: str, predicted: str
) -> list[Reference]:
    """Return the references between columns, each once.

    Few schemas declare their foreign keys, so what the queries join is taken for a reference as well, to the
    column that looks more like a key. A column that refers to another by a foreign key or in the gold query
    has no further reference by the prediction, whose join may be the mistake.

    Args:
        tables: the tables.
        foreign_keys: the declared foreign keys.
        gold: the gold query.
        predicted: the predicted query.
    """
    references: list[Reference] = []
    for stage in (foreign_keys, _joined(tables, gold), _joined(tables, predicted)):
        known = {referring for referring, _ in references}
        references += [(a, b) for a, b in stage if a not in known and a != b]
    return list(dict.fromkeys(references))


def _joined(tables: Sequence[Table], query: str) -> list[Reference]:
    strength = {
        (table.name.lower(), column.name.lower()): key_strength(table, column)
        for table in tables
        for column in table.columns
    }
    # Two columns that look equally like keys: neither is known to refer to the other.
    return [
        (a, b) if strength[a] < strength[b] else (b, a)
        for a, b in hints_of(tables, query).joined
        if strength[a] != strength[b]
    ]
