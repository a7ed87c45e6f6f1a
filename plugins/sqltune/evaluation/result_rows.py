"""Do two results contain the same rows?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from sqltune.evaluation.sandbox import Row

FLOAT_DIGITS = 11
"""Digits to which floats are compared: a sum of floats differs in the last ones by the order of its terms."""


def same_rows(
    gold: Sequence[Row], predicted: Sequence[Row], *, ordered: bool, permute_columns: bool = True
) -> bool:
    """Return whether two results are equal.

    Args:
        gold: rows of the gold query.
        predicted: rows of the predicted query.
        ordered: compare rows as a list, not as a multiset.
        permute_columns: accept the predicted columns in any order.
    """
    if not gold and not predicted:
        return True
    if len(gold) != len(predicted) or len(gold[0]) != len(predicted[0]):
        return False
    # Most right answers are equal as they are, and have no value to round.
    if gold == predicted:
        return True
    left, right = rounded(gold), rounded(predicted)
    if (left == right) if ordered else (Counter(left) == Counter(right)):
        return True
    if not permute_columns or len(left[0]) == 1:
        return False
    return _same_permuted(list(zip(*left, strict=True)), list(zip(*right, strict=True)), ordered)


def rounded(rows: Sequence[Row]) -> list[Row]:
    """Return the rows as they are compared: floats to `FLOAT_DIGITS` digits."""
    if not any(isinstance(value, float) for row in rows for value in row):
        return list(rows)
    return [tuple(_rounded_value(value) for value in row) for row in rows]


def _rounded_value(value: object) -> object:
    return float(f"{value:.{FLOAT_DIGITS}g}") if isinstance(value, float) else value


def _same_permuted(gold: list[Row], predicted: list[Row], ordered: bool) -> bool:
    """Return whether some order of the predicted columns makes the rows equal; both are lists of columns."""
    if ordered:
        # Rows stay in place, so each column must be equal to another one as a whole.
        return Counter(gold) == Counter(predicted)
    bags = [Counter(column) for column in gold]
    candidates = [[j for j, column in enumerate(predicted) if Counter(column) == bag] for bag in bags]
    # The column with the fewest candidates first. After each choice the rows chosen so far must agree, which
    # ends hopeless orders early.
    turn = sorted(range(len(gold)), key=lambda i: len(candidates[i]))

    def search(used: tuple[int, ...]) -> bool:
        depth = len(used)
        if depth == len(turn):
            return True
        expected = Counter(zip(*(gold[i] for i in turn[: depth + 1]), strict=True))
        tried: set[Row] = set()
        for j in candidates[turn[depth]]:
            if j in used or predicted[j] in tried:
                continue
            tried.add(predicted[j])
            chosen = (*used, j)
            if expected == Counter(zip(*(predicted[k] for k in chosen), strict=True)) and search(chosen):
                return True
        return False

    return search(())
