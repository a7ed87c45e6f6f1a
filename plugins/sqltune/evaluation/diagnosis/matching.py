"""Which values of two queries correspond: the same, or the same but for one thing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from sqltune.evaluation.diagnosis.parts import COUNT, Expression, Join, Query
from sqltune.evaluation.diagnosis.steps import Difference, Step

T = TypeVar("T")


class Names:
    """Which columns are equal, because a join equates them.

    Args:
        queries: the queries whose joins count.
        of_rows: leave out tables that are joined with themselves: their columns belong to two rows.
    """

    def __init__(self, *queries: Query, of_rows: bool = True) -> None:
        self._parent: dict[str, str] = {}
        self._joins: set[Join] = set()
        for query in queries:
            for join in query.joins:
                self._joins.add(join)
                if not (of_rows and any(query.tables[column.rpartition(".")[0]] > 1 for column in join)):
                    self._add(*join)

    def _add(self, first: str, second: str) -> None:
        root = self.representative(second)
        self._parent[self.representative(first)] = root
        self._parent[root] = root

    def equate(self, first: str, second: str) -> bool:
        """Whether the joins equate two columns, by way of others if need be."""
        if first == second:
            return (first, second) in self._joins
        return self.representative(first) == self.representative(second)

    def representative(self, column: str) -> str:
        """Return one column for all that are equal to it."""
        while (parent := self._parent.get(column, column)) != column:
            column = parent
        return column

    def equals(self, column: str) -> set[str]:
        """Return the columns equal to a column, itself among them."""
        representative = self.representative(column)
        return {c for c in [*self._parent, column] if self.representative(c) == representative}

    def _columns(self, value: Expression) -> list[str]:
        return sorted(self.representative(c) for c in value.columns)

    def same(self, a: Expression, b: Expression) -> bool:
        """Whether two values are equal."""
        return a.shape == b.shape and (
            a.columns == b.columns
            or [self.representative(c) for c in a.columns] == [self.representative(c) for c in b.columns]
        )

    def same_columns(self, a: Expression, b: Expression) -> bool:
        """Whether two values are made of the same columns, if of any."""
        return bool(a.columns) and self._columns(a) == self._columns(b)

    @property
    def similar(self) -> tuple[Callable[[Expression, Expression], bool], ...]:
        """What makes two values that differ correspond, the closest first."""
        return (
            self.same_columns,
            lambda a, b: a.shape == b.shape and bool(a.columns),
            lambda a, b: bool(set(self._columns(a)) & set(self._columns(b))),
            lambda a, b: COUNT in (a.shape, b.shape),
            lambda a, b: True,
        )

    def is_among(self, value: Expression, others: Sequence[Expression]) -> bool:
        """Whether a value equals one of several."""
        return any(self.same(value, other) for other in others)

    def replaced(self, expected: Expression, actual: Expression, verb: str) -> Difference:
        """Return the difference between two values that correspond."""
        if expected.nested or actual.nested:
            step = Step.NESTING
        elif self.same_columns(expected, actual) or (
            COUNT in (expected.shape, actual.shape) and expected.shape != actual.shape
        ):
            step = Step.FUNCTIONS
        else:
            step = Step.COLUMNS
        return Difference(step, f"{verb} {actual.text} instead of {expected.text}")


@dataclass(frozen=True)
class Matched(Generic[T]):
    """Two lists, paired.

    Attributes:
        pairs: the items that correspond.
        missing: the expected items without a partner.
        extra: the actual items without a partner.
    """

    pairs: list[tuple[T, T]]
    missing: list[T]
    extra: list[T]


def match(expected: Sequence[T], actual: Sequence[T], tests: Sequence[Callable[[T, T], bool]]) -> Matched[T]:
    """Pair the items of two lists: by the first test as many as possible, then by the next."""
    result = Matched([], list(expected), list(actual))
    for test in tests:
        for item in list(result.missing):
            partner = next((other for other in result.extra if test(item, other)), None)
            if partner is not None:
                result.missing.remove(item)
                result.extra.remove(partner)
                result.pairs.append((item, partner))
    return result
