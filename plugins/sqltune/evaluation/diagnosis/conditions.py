"""The differences between the conditions of a gold query and those of an answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from sqltune.evaluation.diagnosis.matching import Names, match
from sqltune.evaluation.diagnosis.parts import Alternatives, Comparison, Condition, Expression, Nested
from sqltune.evaluation.diagnosis.steps import Difference, Step

Test = Callable[[Condition, Condition], bool]


def compare_conditions(
    expected: Sequence[Condition], actual: Sequence[Condition], names: Names
) -> Iterator[Difference]:
    """Compare two lists of conditions joined by AND.

    Conditions with an inner query are left out, unless OR joins them with others.
    """
    comparison = _Conditions(names)
    yield from comparison.compare(
        [c for c in expected if not isinstance(c, Nested)],
        [c for c in actual if not isinstance(c, Nested)],
    )


class _Conditions:
    def __init__(self, names: Names) -> None:
        self._names = names

    def compare(self, expected: Sequence[Condition], actual: Sequence[Condition]) -> Iterator[Difference]:
        tests: tuple[Test, ...] = (
            self._same,
            lambda a, b: self._parts(a, b, left=True, operator=True),
            lambda a, b: self._parts(a, b, left=True, right=True),
            lambda a, b: self._parts(a, b, operator=True, right=True),
            lambda a, b: self._parts(a, b, left=True),
            lambda a, b: isinstance(a, Alternatives) and isinstance(b, Alternatives),
        )
        matched = match(expected, actual, tests)
        missing, extra, pairs = matched.missing, matched.extra, matched.pairs
        if len(missing) == len(extra) == 1:
            # The answer's stands for the gold's.
            pairs, missing, extra = [*pairs, (missing[0], extra[0])], [], []
        for first, second in pairs:
            if not self._same(first, second):
                yield from self._changed(first, second)
        yield from (self._alone(condition, "does not filter") for condition in missing)
        yield from (self._alone(condition, "also filters") for condition in extra)

    @staticmethod
    def _alone(condition: Condition, verb: str) -> Difference:
        step = Step.NESTING if _has_query(condition) else Step.CONDITIONS
        return Difference(step, f"{verb} {condition.text}")

    def _same(self, a: Condition, b: Condition) -> bool:
        if isinstance(a, Alternatives) and isinstance(b, Alternatives):
            return len(a.operands) == len(b.operands) and all(
                any(self._all_same(x, y) for y in b.operands) for x in a.operands
            )
        return self._parts(a, b, left=True, operator=True, right=True)

    def _all_same(self, a: Sequence[Condition], b: Sequence[Condition]) -> bool:
        return len(a) == len(b) and all(any(self._same(x, y) for y in b) for x in a)

    def _parts(
        self, a: Condition, b: Condition, *, left: bool = False, operator: bool = False, right: bool = False
    ) -> bool:
        """Whether two comparisons have these parts in common."""
        return (
            isinstance(a, Comparison)
            and isinstance(b, Comparison)
            and (not left or self._names.same(a.left, b.left))
            and (not operator or a.operator == b.operator)
            and (not right or self._same_right(a, b))
        )

    def _same_right(self, a: Comparison, b: Comparison) -> bool:
        if a.right is None or b.right is None:
            return a.right is b.right
        if a.operator == b.operator and a.operator in ("like", "not like"):
            # LIKE ignores case.
            return a.right.shape.lower() == b.right.shape.lower() and a.right.columns == b.right.columns
        return self._names.same(a.right, b.right)

    def _changed(self, expected: Condition, actual: Condition) -> Iterator[Difference]:
        if isinstance(expected, Alternatives) and isinstance(actual, Alternatives):
            yield from self._operands(expected, actual)
        elif isinstance(expected, Comparison) and isinstance(actual, Comparison):
            yield Difference(
                self._step(expected, actual), f"filters {actual.text} instead of {expected.text}"
            )
        else:
            step = Step.NESTING if _has_query(expected) or _has_query(actual) else Step.CONDITIONS
            yield Difference(step, f"filters {actual.text} instead of {expected.text}")

    def _operands(self, expected: Alternatives, actual: Alternatives) -> Iterator[Difference]:
        if len(expected.operands) != len(actual.operands):
            step = Step.NESTING if _has_query(expected) != _has_query(actual) else Step.CONDITIONS
            yield Difference(step, f"filters {actual.text} instead of {expected.text}")
            return
        for first, second in zip(expected.operands, actual.operands, strict=True):
            yield from self.compare(first, second)

    def _step(self, expected: Comparison, actual: Comparison) -> Step:
        left, right = self._names.same(expected.left, actual.left), self._same_right(expected, actual)
        if not left:
            return self._names.replaced(expected.left, actual.left, "").step
        if expected.operator != actual.operator or right:
            return Step.CONDITIONS
        literals = [side.right is None or side.right.is_literal for side in (expected, actual)]
        return Step.VALUES if all(literals) else self._step_of_right(expected.right, actual.right)

    def _step_of_right(self, expected: Expression | None, actual: Expression | None) -> Step:
        if expected is None or actual is None:
            return Step.CONDITIONS
        return self._names.replaced(expected, actual, "").step


def _has_query(condition: Condition) -> bool:
    if isinstance(condition, Alternatives):
        return any(_has_query(c) for operand in condition.operands for c in operand)
    if isinstance(condition, Nested):
        return True
    return condition.left.nested or bool(condition.right and condition.right.nested)
