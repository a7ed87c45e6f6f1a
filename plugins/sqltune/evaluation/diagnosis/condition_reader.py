"""Reads the conditions of a query: WHERE, HAVING and ON."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from sqlglot import exp

from sqltune.evaluation.diagnosis.parts import Alternatives, Comparison, Condition, Expression, Nested, Query
from sqltune.evaluation.diagnosis.scope import Scope
from sqltune.evaluation.diagnosis.values import combined, read_value

_SIGNS: dict[type[exp.Expr], str] = {
    exp.EQ: "=",
    exp.NEQ: "!=",
    exp.GT: ">",
    exp.GTE: ">=",
    exp.LT: "<",
    exp.LTE: "<=",
    exp.Like: "like",
    exp.Glob: "glob",
    exp.Is: "is",
    exp.NullSafeEQ: "is",
    exp.NullSafeNEQ: "is not",
}
_FLIPPED = {"=": "=", "!=": "!=", ">": "<", ">=": "<=", "<": ">", "<=": ">="}
_NEGATED = {"=": "!=", "!=": "=", ">": "<=", ">=": "<", "<": ">=", "<=": ">", "is": "is not", "is not": "is"}


class ConditionReader:
    """Reads conditions.

    Args:
        query: reads an inner query in a scope.
    """

    def __init__(self, query: Callable[[exp.Expr, Scope], Query]) -> None:
        self._query = query

    def read(self, tree: exp.Expr, scope: Scope, negate: bool = False) -> list[Condition]:
        """Read a condition.

        Args:
            tree: its syntax tree.
            scope: the SELECT that it is in.
            negate: read its opposite.

        Returns:
            Conditions that must all hold.
        """
        if isinstance(tree, exp.Paren):
            return self.read(tree.this, scope, negate)
        if isinstance(tree, exp.Not):
            return self.read(tree.this, scope, not negate)
        if isinstance(tree, exp.Or if negate else exp.And):
            return [c for side in tree.flatten() for c in self.read(side, scope, negate)]
        if isinstance(tree, exp.And | exp.Or):
            return [_alternatives(tuple(self.read(side, scope, negate)) for side in tree.flatten())]
        if isinstance(tree, exp.Between):
            return self._between(tree, scope, negate)
        return [self._condition(tree, scope, negate)]

    @staticmethod
    def _between(tree: exp.Between, scope: Scope, negate: bool) -> list[Condition]:
        value, low, high = (
            read_value(part, scope) for part in (tree.this, tree.args["low"], tree.args["high"])
        )
        if negate:
            return [Alternatives(((Comparison(value, "<", low),), (Comparison(value, ">", high),)))]
        return [Comparison(value, ">=", low), Comparison(value, "<=", high)]

    def _condition(self, tree: exp.Expr, scope: Scope, negate: bool) -> Condition:
        if isinstance(tree, exp.Exists):
            operator = "not exists" if negate else "exists"
            return Nested(None, operator, self._query(tree.this, scope))
        if isinstance(tree, exp.In):
            return self._in(tree, scope, negate)
        sign = _SIGNS.get(type(tree))
        if sign is None:
            value = read_value(tree, scope)
            return Comparison(value, "is false") if negate else Comparison(value, "")
        negate = negate != bool(tree.args.get("negate"))
        if negate:
            sign = _NEGATED.get(sign, f"not {sign}")
        return self._comparison(tree.this, sign, tree.expression, scope)

    def _in(self, tree: exp.In, scope: Scope, negate: bool) -> Condition:
        left = read_value(tree.this, scope)
        if (inner := tree.args.get("query")) is not None:
            return self._nested(left, "not in" if negate else "in", inner, scope)
        return _one_of(left, [read_value(value, scope) for value in tree.expressions], negate)

    def _comparison(self, left: exp.Expr, sign: str, right: exp.Expr, scope: Scope) -> Condition:
        if isinstance(right, exp.Not):
            sign, right = "is not", right.this
        if isinstance(left, exp.Subquery | exp.Select) and sign in _FLIPPED:
            left, sign, right = right, _FLIPPED[sign], left
        value = read_value(left, scope)
        if isinstance(right, exp.Subquery | exp.Select):
            return self._nested(value, sign, right, scope)
        other = read_value(right, scope)
        if value.is_literal and not other.is_literal and sign in _FLIPPED:
            value, sign, other = other, _FLIPPED[sign], value
        return Comparison(value, sign, other)

    def _nested(self, left: Expression, operator: str, inner: exp.Expr, scope: Scope) -> Nested:
        return Nested(left, operator, self._query(inner, scope), scope.query.results == [left])


def _one_of(left: Expression, values: list[Expression], negate: bool) -> Comparison:
    """`left IN (…)`; with one value `left = …`."""
    distinct = sorted(dict.fromkeys(values), key=lambda value: value.text)
    if len(distinct) == 1:
        return Comparison(left, "!=" if negate else "=", distinct[0])
    text = f"({', '.join(value.text for value in distinct)})"
    shape = f"({', '.join(['{}'] * len(distinct))})"
    return Comparison(left, "not in" if negate else "in", combined(text, shape, distinct))


def _alternatives(operands: Iterable[tuple[Condition, ...]]) -> Condition:
    """Conditions joined by OR; `x = 1 OR x = 2` becomes `x IN (1, 2)`."""
    sides = tuple(operands)
    equal = [
        (c.left, c.right)
        for side in sides
        for c in side
        if isinstance(c, Comparison) and c.operator == "=" and c.right and c.right.is_literal
    ]
    if len(equal) == sum(map(len, sides)) == len(sides) and len({left for left, _ in equal}) == 1:
        return _one_of(equal[0][0], [right for _, right in equal], negate=False)
    return Alternatives(sides)
