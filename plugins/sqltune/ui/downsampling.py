"""Fewer points of a series for a chart, without losing a spike."""

from __future__ import annotations

import math
from collections.abc import Sequence

POINTS = 2_000
"""Points that a chart gets at most by default: twice the pixels of a wide one."""


def min_max(values: Sequence[float | None], points: int = POINTS) -> list[int]:
    """Choose the points of a series that a chart has to draw.

    The series is cut into stretches of equal length. Of each, the lowest and the highest value stay, so
    that every spike is seen; and one point without a value, so that a gap or a NaN is. The first and the
    last point stay as well.

    Args:
        values: The series; None where there is no finite value.
        points: How many points may be left, at least 8.

    Returns:
        The chosen indices, in order; all of them where the series is short enough.
    """
    if len(values) <= points:
        return list(range(len(values)))
    # Up to three of each stretch, and the two ends.
    stretches = (points - 2) // 3
    size = math.ceil(len(values) / stretches)
    chosen = {0, len(values) - 1}
    for start in range(0, len(values), size):
        stretch = range(start, min(start + size, len(values)))
        present = [i for i in stretch if values[i] is not None]
        if len(present) < len(stretch):
            chosen.add(next(i for i in stretch if values[i] is None))
        if present:
            chosen.add(min(present, key=lambda i: values[i] or 0.0))
            chosen.add(max(present, key=lambda i: values[i] or 0.0))
    return sorted(chosen)
