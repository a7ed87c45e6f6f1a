"""Reads values of a query: columns, literals, functions and calculations."""

from __future__ import annotations

from collections.abc import Sequence

from sqlglot import exp

from sqltune.evaluation.diagnosis.parts import COUNT, Expression, escaped, literal, shown
from sqltune.evaluation.diagnosis.scope import Scope

_ARITHMETIC: dict[type[exp.Expr], str] = {
    exp.Add: "+",
    exp.Sub: "-",
    exp.Mul: "*",
    exp.Div: "/",
    exp.Mod: "%",
    exp.DPipe: "||",
}
_COMMUTATIVE = ("+", "*")


def read_value(tree: exp.Expr, scope: Scope) -> Expression:
    """Read a value.

    Args:
        tree: its syntax tree.
        scope: the SELECT that it is in.
    """
    if isinstance(tree, exp.Paren):
        return read_value(tree.this, scope)
    if isinstance(tree, exp.Column):
        return scope.resolve(tree)
    if isinstance(tree, exp.Literal):
        return literal(tree.name, is_string=tree.is_string)
    if isinstance(tree, exp.Boolean):
        return literal(str(int(tree.this)), is_string=False)
    if isinstance(tree, exp.Neg) and isinstance(tree.this, exp.Literal):
        return literal(f"-{tree.this.name}", is_string=False)
    if isinstance(tree, exp.Subquery | exp.Select):
        text = f"({shown(tree)})"
        return Expression(escaped(text.lower()), (), text, nested=True)
    if isinstance(tree, exp.Count):
        return _count(tree, scope)
    if (sign := _ARITHMETIC.get(type(tree))) is not None:
        return _calculation(tree, sign, scope)
    return _function(tree, scope)


def combined(text: str, shape: str, parts: Sequence[Expression]) -> Expression:
    """Return a value that is made of others.

    Args:
        text: the value as sentences show it.
        shape: the value with a pair of braces for each part.
        parts: the parts, in their order.
    """
    columns = tuple(column for part in parts for column in part.columns)
    nested = any(part.nested for part in parts)
    return Expression(shape.format(*(part.shape for part in parts)), columns, text, nested)


def _count(tree: exp.Count, scope: Scope) -> Expression:
    inner, distinct = tree.this, ""
    if isinstance(inner, exp.Distinct):
        inner, distinct = inner.expressions[0], "DISTINCT "
    counted = "*" if inner is None or isinstance(inner, exp.Star) else read_value(inner, scope).text
    return Expression(COUNT, (), f"COUNT({distinct}{counted})")


def _calculation(tree: exp.Expr, sign: str, scope: Scope) -> Expression:
    sides = [read_value(side, scope) for side in (tree.this, tree.expression)]
    if sign in _COMMUTATIVE:
        sides.sort(key=lambda side: side.text)
    return combined(f"{sides[0].text} {sign} {sides[1].text}", f"({{}} {sign} {{}})", sides)


def _function(tree: exp.Expr, scope: Scope) -> Expression:
    """Any other expression, by its name and the values in it."""
    if isinstance(tree, exp.Distinct):
        return read_value(tree.expressions[0], scope)
    name = tree.name if isinstance(tree, exp.Anonymous) else tree.key
    parts: list[Expression] = []
    for argument in tree.args.values():
        for item in argument if isinstance(argument, list) else [argument]:
            if isinstance(item, exp.DataType):
                parts.append(literal(item.sql(), is_string=False))
            elif isinstance(item, exp.Expr):
                parts.append(read_value(item, scope))
    inside = ", ".join(part.text for part in parts)
    text = f"{name.upper()}({inside})" if parts else name.upper()
    return combined(text, f"{escaped(name.lower())}({', '.join(['{}'] * len(parts))})", parts)
