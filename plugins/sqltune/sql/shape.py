"""What a gold query is made of: its clauses, its hardness, and whether a prediction is the same query.

Hardness follows the published rules of Spider's evaluation (Yu et al., EMNLP 2018), read from the tokens.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from functools import lru_cache
from typing import Literal

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from sqltune.sql.queries import with_joined_operators
from sqltune.sql.tokens import SET_OPERATIONS, Token, meaningful, outside_parentheses, tokens

Hardness = Literal["easy", "medium", "hard", "extra"]
HARDNESS: tuple[Hardness, ...] = ("easy", "medium", "hard", "extra")
CLAUSES = (
    "where",
    "group by",
    "having",
    "order by",
    "limit",
    "join",
    "aggregate",
    "distinct",
    "set operation",
    "subquery",
)

_AGGREGATES = {"count", "sum", "avg", "min", "max"}


def _first_select(query: Iterable[Token]) -> tuple[list[Token], int]:
    """The outermost query up to its first set operation, without the inner queries.

    Also returns the number of inner queries and set operations.
    """
    out: list[Token] = []
    depth, hidden, inner = 0, 0, 0
    remaining = list(query)
    for i, t in enumerate(remaining):
        if t.text == "(":
            depth += 1
            if i + 1 < len(remaining) and remaining[i + 1].key == "select" and i > 0:
                inner += 1
                hidden = hidden or depth
        if not hidden:
            if depth == 0 and t.key in SET_OPERATIONS:
                return out, inner + 1
            out.append(t)
        if t.text == ")":
            hidden = 0 if hidden == depth else hidden
            depth -= 1
    return out, inner


@lru_cache(maxsize=4096)
def clauses(query: str) -> tuple[str, ...]:
    """Which of `CLAUSES` occur anywhere in a query."""
    tokens_in_use = meaningful(tokens(query))
    keys = [t.key for t in tokens_in_use]
    pairs = set(itertools.pairwise(keys))
    called = {t.key for t, after in itertools.pairwise(tokens_in_use) if after.text == "("}
    there = {
        "where": "where" in keys,
        "group by": ("group", "by") in pairs,
        "having": "having" in keys,
        "order by": ("order", "by") in pairs,
        "limit": "limit" in keys,
        "join": "join" in keys,
        "aggregate": bool(called & _AGGREGATES),
        "distinct": "distinct" in keys,
        "set operation": any(w in SET_OPERATIONS for w in keys),
        "subquery": keys.count("select") - sum(w in SET_OPERATIONS for w in keys) > 1,
    }
    return tuple(name for name in CLAUSES if there[name])


@lru_cache(maxsize=4096)
def hardness(query: str) -> Hardness:
    """How hard a query is: by its clauses, inner queries, columns, conditions and aggregates."""
    top, nested = _first_select(meaningful(tokens(query)))
    keys = [t.key for t in top]
    count = keys.count

    def part(begin: str, *ends: str) -> list[Token]:
        if begin not in keys:
            return []
        first = keys.index(begin) + 1
        return top[first : next((i for i in range(first, len(keys)) if keys[i] in ends), len(keys))]

    conditions = part("where", "group", "having", "order", "limit") + part("having", "order", "limit")
    joins = count("join") + sum(
        t.text == "," for t in outside_parentheses(part("from", "where", "group", "having", "order", "limit"))
    )
    ors = sum(t.key == "or" for t in [*conditions, *part("from", "where", "group", "order")])
    likes = sum(t.key == "like" for t in conditions)
    components = count("where") + count("group") + count("order") + count("limit") + joins + ors + likes
    aggregates = sum(t.key in _AGGREGATES and after.text == "(" for t, after in itertools.pairwise(top))
    columns = 1 + sum(t.text == "," for t in outside_parentheses(part("select", "from")))
    betweens = sum(t.key == "between" for t in part("where", "group", "having", "order", "limit"))
    wheres = (
        "where" in keys
        and 1
        + sum(t.key in ("and", "or") for t in part("where", "group", "having", "order", "limit"))
        - betweens
    )
    groups = "group" in keys and 1 + sum(
        t.text == "," for t in outside_parentheses(part("group", "having", "order", "limit"))
    )
    others = (aggregates > 1) + (columns > 1) + (wheres > 1) + (groups > 1)
    if components <= 1 and others == 0 and nested == 0:
        return "easy"
    if nested == 0 and ((others <= 2 and components <= 1) or (components <= 2 and others < 2)):
        return "medium"
    if (nested == 0 and ((others > 2 and components <= 2) or (2 < components <= 3 and others <= 2))) or (
        components <= 1 and others == 0 and nested <= 1
    ):
        return "hard"
    return "extra"


@lru_cache(maxsize=8192)
def _tree(query: str) -> str | None:
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
    return tree.sql(dialect="sqlite")


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
        if left is not None and right is not None and left.sql() > right.sql():
            both.set("this", right.copy())
            both.set("expression", left.copy())


def same_query(gold: str, predicted: str) -> bool:
    """Whether a prediction equals the gold query except for case, aliases, quotes, order of conditions."""
    if _spelling(gold) == _spelling(predicted):
        return True
    tree = _tree(with_joined_operators(gold))
    return tree is not None and tree == _tree(with_joined_operators(predicted))


def _spelling(query: str) -> str:
    """A query without its blanks, comments and semicolons, its words in lower case."""
    return " ".join(t.key or t.text for t in meaningful(tokens(query)) if t.text != ";")
