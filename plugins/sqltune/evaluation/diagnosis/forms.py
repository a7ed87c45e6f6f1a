"""Brings two queries to the same form: a condition with an inner query here, a join or an order there.

`IN (SELECT key …)` and EXISTS become joins where the other query joins those tables; `x = (SELECT MAX(x) …)`
becomes `ORDER BY x DESC LIMIT 1` where the other query orders. What has no counterpart is a difference in
nesting.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from sqltune.evaluation.diagnosis.parts import Condition, Nested, Query, column, join_of
from sqltune.evaluation.diagnosis.steps import Difference, Step

_SAME_OPERATOR = {"=": "in", "!=": "not in"}
_EXTREMES = {"max({})": True, "min({})": False}
"""The functions that an order with LIMIT 1 takes the place of, and whether the order is descending."""


@dataclass
class Alignment:
    """Two queries in one form.

    Attributes:
        pairs: the conditions with inner queries that correspond, of gold and answer.
        queries: the other inner queries that correspond.
        differences: what has no counterpart, or has one in another form.
    """

    pairs: list[tuple[Nested, Nested]] = field(default_factory=list)
    queries: list[tuple[Query, Query]] = field(default_factory=list)
    differences: list[Difference] = field(default_factory=list)


def align(gold: Query, answer: Query) -> Alignment:
    """Bring two queries to one form; both are changed.

    Args:
        gold: the gold query.
        answer: the answer.
    """
    result = Alignment()
    _align_sets(gold, answer, result)
    _align_derived(gold, answer, result)
    for query in (gold, answer):
        _replace_exists(query)
    missing, extra = _align_nested(gold, answer, result)
    result.differences += [_missing(condition, gold, answer) for condition in missing]
    result.differences += [_extra(condition, gold, answer) for condition in extra]
    return result


def _missing(condition: Nested, gold: Query, answer: Query) -> Difference:
    if _orders(condition, gold, answer):
        return Difference(Step.FORM, f"takes the first row in order instead of {condition.text}")
    return Difference(Step.NESTING, f"has no {_named(condition)}")


def _extra(condition: Nested, gold: Query, answer: Query) -> Difference:
    if _orders(condition, answer, gold):
        return Difference(Step.FORM, f"filters {condition.text} instead of taking the first row in order")
    return Difference(Step.NESTING, f"has an additional {_named(condition)}")


def _named(condition: Nested) -> str:
    return condition.text if condition.set_operation else f"inner query: {condition.text}"


def _align_nested(gold: Query, answer: Query, result: Alignment) -> tuple[list[Nested], list[Nested]]:
    """Pair the conditions with an inner query, and turn others into joins; returns what is left of both."""
    while True:
        missing, extra = _pair(gold, answer, result)
        pulled = [c for c in missing if _pull_in(c, gold, answer)]
        pushed = [c for c in extra if _pull_in(c, answer, gold)]
        if not pulled and not pushed:
            return missing, extra
        for conditions, way, instead in (
            (pulled, "a join", "an inner query"),
            (pushed, "an inner query", "a join"),
        ):
            result.differences += [
                Difference(Step.FORM, f"reads {', '.join(c.query.tables)} by {way} instead of {instead}")
                for c in conditions
            ]


def _align_sets(gold: Query, answer: Query, result: Alignment) -> None:
    if len(gold.sets) == len(answer.sets):
        for (expected, first), (actual, second) in zip(gold.sets, answer.sets, strict=True):
            if expected != actual:
                result.differences.append(Difference(Step.NESTING, f"uses {actual} instead of {expected}"))
            result.queries.append((first, second))
        return
    for sets, text in ((gold.sets, "has no"), (answer.sets, "has an additional")):
        result.differences += [
            Difference(Step.NESTING, f"{text} {name} {query.text}") for name, query in sets
        ]


def _align_derived(gold: Query, answer: Query, result: Alignment) -> None:
    if len(gold.derived) == len(answer.derived):
        result.queries += zip(gold.derived, answer.derived, strict=True)
        return
    for query, text in ((gold, "has no inner query in FROM"), (answer, "has an inner query in FROM")):
        for inner in query.derived:
            result.differences.append(Difference(Step.NESTING, f"{text}: {inner.text}"))
            _merge(inner, query)


def _merge(inner: Query, query: Query) -> None:
    """Add what an inner query reads and requires to the query around it."""
    query.tables += inner.tables
    query.optional |= inner.optional
    query.joins |= inner.joins
    query.where += inner.where


def _replace_exists(query: Query) -> None:
    """`EXISTS (SELECT … WHERE inner.x = outer.y)` becomes `outer.y IN (SELECT inner.x …)`."""
    for i, condition in enumerate(query.where):
        if isinstance(condition, Nested) and condition.left is None:
            query.where[i] = _as_in(condition)


def _as_in(condition: Nested) -> Nested:
    inner = condition.query
    for join in sorted(inner.joins):
        inside = [c for c in join if c.rpartition(".")[0] in inner.tables]
        outside = [c for c in join if c not in inside]
        if len(inside) == len(outside) == 1:
            inner.joins = inner.joins - {join}
            inner.results = [column(inside[0])]
            operator = "in" if condition.operator == "exists" else "not in"
            return Nested(column(outside[0]), operator, inner)
    return condition


def _nested(query: Query) -> Iterator[Nested]:
    yield from (c for c in [*query.where, *query.having] if isinstance(c, Nested))


def _pair(gold: Query, answer: Query, result: Alignment) -> tuple[list[Nested], list[Nested]]:
    """Pair the conditions with an inner query; returns those of both sides that are left.

    Pairs are taken out of the queries.
    """
    for fits in (_same, _same_operator, _same_value):
        for expected in list(_nested(gold)):
            partner = next((c for c in _nested(answer) if fits(expected, c)), None)
            if partner is not None:
                _remove(expected, gold)
                _remove(partner, answer)
                result.pairs.append((expected, partner))
    return list(_nested(gold)), list(_nested(answer))


def _remove(condition: Condition, query: Query) -> None:
    for conditions in (query.where, query.having):
        if condition in conditions:
            conditions.remove(condition)


def _operator(condition: Nested) -> str:
    return _SAME_OPERATOR.get(condition.operator, condition.operator)


def _same(a: Nested, b: Nested) -> bool:
    return _same_operator(a, b) and _same_value(a, b)


def _same_operator(a: Nested, b: Nested) -> bool:
    # EXCEPT removes results, which NOT IN on another column than the result does not; and looking up a key is
    # something else than comparing with an aggregate.
    comparable = bool(a.set_operation) == bool(b.set_operation) and _is_lookup(a) == _is_lookup(b)
    return _operator(a) == _operator(b) and (comparable or _same_value(a, b))


def _is_lookup(condition: Nested) -> bool:
    return all(result.is_column for result in condition.query.results)


def _same_value(a: Nested, b: Nested) -> bool:
    return a.left == b.left or (a.on_result and b.on_result)


def _pull_in(condition: Nested, own: Query, other: Query) -> bool:
    """Turn a condition into a join, if the other query reads its tables and this one does not else."""
    inner = condition.query
    if (
        _operator(condition) != "in"
        or condition.set_operation
        or condition.left is None
        or not condition.left.is_column
        or not inner.is_plain
        or len(inner.results) != 1
        or not inner.results[0].is_column
        or not (other.tables - own.tables) & inner.all_tables()
    ):
        return False
    _remove(condition, own)
    _merge(inner, own)
    own.joins = own.joins | {join_of(condition.left.columns[0], inner.results[0].columns[0])}
    return True


def _orders(condition: Nested, own: Query, other: Query) -> bool:
    """Turn `x = (SELECT MAX(x) …)` into an order, if the other query orders and takes one row."""
    results = condition.query.results
    if (
        _operator(condition) != "in"
        or condition.left is None
        or len(results) != 1
        or results[0].shape not in _EXTREMES
        or condition.query.groups
        or other.limit != "1"
        or not other.orders
        or own.orders
    ):
        return False
    _remove(condition, own)
    own.orders = [(condition.left, _EXTREMES[results[0].shape])]
    own.limit = "1"
    return True
