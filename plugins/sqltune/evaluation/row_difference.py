"""Which rows of two results have no partner in the other, and how the results differ."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Literal

from sqltune.evaluation.result_rows import rounded
from sqltune.evaluation.sandbox import Row

DifferenceKind = Literal["columns", "missing", "extra", "repeated", "types", "values", "order"]
"""How a prediction's rows differ from the gold query's.

`columns`: another number of columns; `missing`: some rows are missing; `extra`: some are too many;
`repeated`: the same rows, some more or less often; `types`: rows that look alike, but text here is a number
there; `values`: other rows; `order`: the same rows in another order.
"""

MAX_PERMUTED, MAX_PERMUTED_ROWS = 6, 200
"""Columns and rows up to which every order of the predicted columns is tried: 720 orders."""


@dataclass(frozen=True)
class RowDifference:
    """How two results differ.

    Attributes:
        kind: how they differ.
        gold: positions of the gold query's rows without a partner.
        predicted: positions of the predicted rows without a partner.
    """

    kind: DifferenceKind
    gold: tuple[int, ...]
    predicted: tuple[int, ...]


def row_difference(gold: Sequence[Row], predicted: Sequence[Row]) -> RowDifference:
    """Return how two results differ that do not match.

    Args:
        gold: rows of the gold query.
        predicted: rows of the predicted query; its columns may be in any order.
    """
    if gold and predicted and len(gold[0]) != len(predicted[0]):
        return RowDifference("columns", tuple(range(len(gold))), tuple(range(len(predicted))))
    left, right = rounded(gold), _best_order(rounded(gold), rounded(predicted))
    missing, extra = _without_partner(left, right), _without_partner(right, left)
    if not missing and not extra:
        moved = tuple(i for i, (a, b) in enumerate(zip(left, right, strict=True)) if a != b)
        return RowDifference("order", moved, moved)
    return RowDifference(_kind(left, right, missing, extra), missing, extra)


def _kind(
    left: Sequence[Row], right: Sequence[Row], missing: tuple[int, ...], extra: tuple[int, ...]
) -> DifferenceKind:
    if left and set(left) == set(right):
        return "repeated"
    if not (missing and extra):
        return "missing" if missing else "extra"
    return "types" if _as_text(left) == _as_text(right) else "values"


def _as_text(rows: Sequence[Row]) -> Counter[tuple[str, ...]]:
    return Counter(tuple(map(str, row)) for row in rows)


def _best_order(gold: Sequence[Row], predicted: list[Row]) -> list[Row]:
    """Return the predicted rows with their columns in the order that leaves the fewest without a partner."""
    width = len(predicted[0]) if predicted else 0
    if not gold or not 1 < width <= MAX_PERMUTED or len(predicted) > MAX_PERMUTED_ROWS:
        return predicted
    expected = Counter(gold)
    orders = ([tuple(row[i] for i in order) for row in predicted] for order in permutations(range(width)))
    return max(orders, key=lambda rows: (expected & Counter(rows)).total())


def _without_partner(rows: Sequence[Row], others: Sequence[Row]) -> tuple[int, ...]:
    partners = Counter(others)
    alone = []
    for position, row in enumerate(rows):
        if partners[row]:
            partners[row] -= 1
        else:
            alone.append(position)
    return tuple(alone)
