"""A query's syntax tree, as text that is equal where two queries are the same but for spelling."""

from __future__ import annotations

from functools import lru_cache

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError


@lru_cache(maxsize=8192)
def canonical_text(query: str) -> str | None:
    """A query as text that is equal for equal trees; None if it can't be parsed.

    Names are in lower case, aliases of tables resolved, both sides of AND, OR and = in one order.
    """
    try:
        tree = sqlglot.parse_one(query, read="sqlite")
    except (SqlglotError, RecursionError, ValueError):
        return None
    for identifier in tree.find_all(exp.Identifier):
        identifier.set("this", identifier.name.lower())
        identifier.set("quoted", False)
    for select in list(tree.find_all(exp.Select)):
        _resolve_aliases(select)
    _order_operands(tree)
    return tree.sql(dialect="sqlite", copy=False)


def _resolve_aliases(select: exp.Select) -> None:
    """Qualify columns with tables in place of aliases, and drop the aliases of tables and columns."""
    tables = [t for t in select.find_all(exp.Table) if t.parent_select is select]
    by_alias = {t.alias: t.name for t in tables if t.alias}
    # A table that is joined to itself keeps its aliases: they identify which one is meant.
    twice = {t.name for t in tables if sum(o.name == t.name for o in tables) > 1}
    for column in select.find_all(exp.Column):
        name = by_alias.get(column.table, column.table)
        if len(tables) == 1 and name == tables[0].name:
            column.set("table", None)
        elif column.table in by_alias and name not in twice:
            column.set("table", exp.to_identifier(name))
    for table in tables:
        if table.alias and table.name not in twice:
            table.set("alias", None)
    for result in select.expressions:
        if isinstance(result, exp.Alias):
            result.replace(result.this)


def _order_operands(tree: exp.Expr) -> None:
    """Put both sides of AND, OR and = in one order, the innermost first: outer ones compare their text."""
    for both in reversed(list(tree.find_all(exp.And, exp.Or, exp.EQ))):
        left, right = both.this, both.expression
        if left is not None and right is not None and left.sql(copy=False) > right.sql(copy=False):
            both.set("this", right)
            both.set("expression", left)
