"""Which rows of two results differ, and how."""

from __future__ import annotations

import pytest

from sqltune.evaluation.row_difference import row_difference


@pytest.mark.parametrize(
    ("gold", "predicted", "kind", "missing", "extra"),
    [
        ([(1,)], [(1, 2)], "columns", (0,), (0,)),
        ([(1,), (2,)], [(2,)], "missing", (0,), ()),
        ([(1,)], [], "missing", (0,), ()),
        ([(2,)], [(1,), (2,)], "extra", (), (0,)),
        ([], [(1,)], "extra", (), (0,)),
        ([(1,)], [(1,), (1,)], "repeated", (), (1,)),
        ([(1,), (1,), (2,)], [(1,), (2,), (2,)], "repeated", (1,), (2,)),
        ([(1,), (2,)], [(1,), (3,)], "values", (1,), (1,)),
        ([("6", "x")], [(6, "x")], "types", (0,), (0,)),
        ([(1,), (2,), (3,)], [(1,), (3,), (2,)], "order", (1, 2), (1, 2)),
        # Columns may be in any order: the one that leaves fewest rows alone counts.
        ([(1, "a"), (2, "b")], [("a", 1), ("c", 2)], "values", (1,), (1,)),
        ([(0.1 + 0.2,), (1,)], [(0.3,)], "missing", (1,), ()),
    ],
)
def test_difference(gold, predicted, kind, missing, extra):
    difference = row_difference(gold, predicted)
    assert (difference.kind, difference.gold, difference.predicted) == (kind, missing, extra)


def test_many_columns_stay_in_their_order():
    wide = tuple(range(12))
    assert row_difference([wide], [wide[::-1]]).kind == "values"
