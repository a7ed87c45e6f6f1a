"""Comparison of two results."""

from __future__ import annotations

import pytest

from sqltune.evaluation.result_rows import same_rows


@pytest.mark.parametrize(
    ("gold", "predicted", "ordered", "same"),
    [
        ([(1, "a"), (2, "b")], [("b", 2), ("a", 1)], False, True),
        ([(1, 2), (2, 1)], [(1, 1), (2, 2)], False, False),
        ([(1,), (1,)], [(1,)], False, False),
        ([(1, "a"), (2, "b")], [("b", 2), ("a", 1)], True, False),
        ([(1, "a"), (2, "b")], [("a", 1), ("b", 2)], True, True),
        ([], [], False, True),
        ([(0.1 + 0.2,)], [(0.3,)], False, True),
        ([(1, 1, 2)], [(1, 2, 1)], False, True),
        ([(1, 1)], [(1, 2)], False, False),
    ],
)
def test_same_rows(gold, predicted, ordered, same):
    assert same_rows(gold, predicted, ordered=ordered) is same


def test_columns_in_place_when_they_must_not_be_permuted():
    assert not same_rows([(1, "a")], [("a", 1)], ordered=False, permute_columns=False)


def test_ordered_rows_with_permuted_columns_are_the_same():
    assert same_rows([(1, "a"), (2, "b")], [("a", 1), ("b", 2)], ordered=True)
