"""What a gold query is made of: its clauses, its hardness, and whether a prediction is the same query.

Hardness follows the published rules of Spider's evaluation (Yu et al., EMNLP 2018), read from the tokens.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from functools import lru_cache
from typing import Literal

from sqltune.sql.queries import same_spelling, with_joined_operators
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


def same_query(gold: str, predicted: str) -> bool:
    """Whether a prediction equals the gold query except for case, aliases, quotes, order of conditions."""
    if same_spelling(gold, predicted):
        return True
    # Here, because every task that reads a score imports this module, and few compare trees.
    from sqltune.sql.syntax_tree import canonical_text

    tree = canonical_text(with_joined_operators(gold))
    return tree is not None and tree == canonical_text(with_joined_operators(predicted))
