"""Values of a column of a synthetic database, and how they spread over its rows."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

LARGEST_GROUP = 6
"""Rows of the largest group of equal values, unless a query compares the size of groups."""

SPREAD = 997
"""Numbers are drawn from this many points of their range: prime, so that few of them are round."""
DEFAULT_TOP = 90_000
"""Largest number of a column that is compared with no number."""
LITERAL_TOP = 300
"""Largest number of a column that is compared with small numbers."""
TOP_OVER_LITERAL = 2.2
"""The range ends well above the largest literal: as many rows lie above it as below."""
SMALL_LITERAL = 5
"""Below this, numbers go in steps of a half: conditions on ratings are about fractions."""
NARROW_LITERAL = 20
"""Below this, half of the numbers lie near the literals: else nearly all would satisfy `> 3`."""


@dataclass(frozen=True)
class ColumnValues:
    """The values of a column."""

    base: list[object]
    """A value for each row."""
    literals: list[object] = field(default_factory=list)
    """What queries compare the column with; some rows have one of these instead."""
    once: bool = False
    """Each literal is in one row only: it names an entity."""


def skewed(values: Sequence[object], count: int, sizes: Iterable[int], rng: random.Random) -> list[object]:
    """Choose `count` values, no two equally often where that is possible.

    Args:
        values: what to choose from; the first one fills up.
        count: how many rows.
        sizes: sizes of groups that queries compare; these and the sizes beside them occur.
        rng: the source of chance.
    """
    compared = sorted({n + d for n in sizes for d in (-1, 0, 1)} - {0}, reverse=True)
    times = list(dict.fromkeys([*compared, *range(LARGEST_GROUP, 0, -1)]))
    chosen: list[object] = []
    for value, n in zip(values, times, strict=False):
        chosen += [value] * n
    chosen += [values[0]] * (count - len(chosen))
    rng.shuffle(chosen)
    return chosen[:count]


def numbers_around(literals: Sequence[object], count: int, rng: random.Random) -> ColumnValues:
    """Numbers around the literals, no two alike except for the literals and what is just beside them."""
    numbers = [v for v in literals if isinstance(v, int | float)]
    step = 0.5 if numbers and max(abs(n) for n in numbers) < SMALL_LITERAL else 1
    base: list[object] = [
        _whole(round(value / step) * step)
        for value in (_point(x, numbers) for x in rng.sample(range(1, SPREAD), count))
    ]
    if numbers and max(numbers) < NARROW_LITERAL:
        base = [rng.choice((v, round(2 * max(numbers) * rng.random(), 1))) for v in base]
    # The literal itself twice: rows that just meet a condition are as many as those that just miss it.
    near: list[object] = [_whole(n + d) for n in numbers for d in (0, 0, step, -step)]
    return ColumnValues(base, [*near, *(v for v in literals if isinstance(v, str))])


def _point(x: int, numbers: Sequence[int | float]) -> float:
    """The value at a point of the range; without literals small values are more frequent than large ones."""
    if not numbers:
        return DEFAULT_TOP * (x / SPREAD) ** 3
    return max([LITERAL_TOP, *(TOP_OVER_LITERAL * abs(n) for n in numbers)]) * (x / SPREAD)


def _whole(value: float) -> int | float:
    return int(value) if value == int(value) else value


def matching(value: object, rng: random.Random) -> object:
    """A value that a LIKE pattern matches; other values as they are."""
    if not isinstance(value, str) or "%" not in value:
        return value
    return re.sub(r"%", lambda _: rng.choice(("", "x", "yz")), value).replace("_", "q")
