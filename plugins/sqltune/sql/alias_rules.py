"""Rules for how DuSQL uses aliases of tables."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterator, Sequence

from sqltune.sql.names import needs_quotes, quoted
from sqltune.sql.scopes import Scope, closing_index, next_index, scopes
from sqltune.sql.tokens import Token, join, tokens

_AGGREGATE_OF_COLUMN = re.compile(
    r'\s*select\s+\w+\s*\(\s*(?:\w+\.)?(\w+|"[^"]*")\s*\)\s*(?=from\b)', re.IGNORECASE
)
"""The beginning of `select sum ( x ) from t`; the group is the column."""


def alias_as_table(query: Sequence[Token]) -> list[Token]:
    """`from 公司 as T1 where x > ( select avg ( T1.x ) from T1 )` becomes `… from 公司 as T1 )`.

    An alias of the outer query is not a table.
    """
    result = list(query)
    for scope in scopes(query):
        for use in scope.tables:
            table = scope.outer.table_of(use.table) if scope.outer else ""
            if table and not use.alias:
                name = quoted(table) if needs_quotes(table) else table
                result[use.index] = Token("word", f"{name} as {query[use.index].text}")
    return tokens(join(result))


def tables_by_alias(query: Sequence[Token]) -> list[Token]:
    """`from 融资 as T1 … on 融资.企业id == …` becomes `on T1.企业id == …`.

    A table with an alias has no other name. Where a table has several aliases, its first mention gets the
    first.
    """
    result = list(query)
    mentions: Counter[tuple[int, str]] = Counter()
    every = scopes(query)
    for i in _qualifiers(query):
        table = query[i].identifier
        scope = _scope_that_renames(every, i, table)
        if scope is not None:
            aliases = scope.aliases_of(table)
            alias = aliases[min(mentions[scope.begin, table], len(aliases) - 1)]
            mentions[scope.begin, table] += 1
            result[i] = Token("word", alias.upper() if aliases[0].isascii() else aliases[0])
    return result


def _qualifiers(query: Sequence[Token]) -> Iterator[int]:
    """Indices of the names that qualify a column: `a` in `a.b`."""
    for i, (token, following) in enumerate(itertools.pairwise(query)):
        if token.identifier and following.text == "." and not (i and query[i - 1].text == "."):
            yield i


def _scope_that_renames(every: Sequence[Scope], i: int, table: str) -> Scope | None:
    """The innermost SELECT around token `i` that knows a table only by an alias; None if none does."""
    inner = next((scope for scope in reversed(every) if scope.begin < i < scope.end), None)
    around = inner.and_outer() if inner is not None else iter(())
    return next((s for s in around if s.aliases_of(table) and not s.knows(table)), None)


def named_aggregates(query: Sequence[Token]) -> list[Token]:
    """`b.x … from ( select sum ( x ) from t ) b` becomes `from ( select sum ( x ) as x from t ) b`.

    What the query refers to by its column's name gets that name.
    """
    result = list(query)
    for i, end in _inner_selects(query):
        after = next_index(query, end + 1)
        alias = query[after].identifier if after > 0 else ""
        aggregate = _AGGREGATE_OF_COLUMN.match(join(query[i + 1 : end]))
        if alias and aggregate and _refers(query, alias, tokens(aggregate[1])[0].identifier):
            opening = next(j for j in range(i + 1, end) if query[j].text == "(")
            result[closing_index(query, opening)] = Token("word", f") as {aggregate[1]}")
    return tokens(join(result))


def _inner_selects(query: Sequence[Token]) -> Iterator[tuple[int, int]]:
    """The parentheses around each inner SELECT."""
    for i, token in enumerate(query):
        inner = next_index(query, i + 1) if token.text == "(" else -1
        if inner > 0 and query[inner].key == "select" and (end := closing_index(query, i)) > 0:
            yield i, end


def _refers(query: Sequence[Token], alias: str, column: str) -> bool:
    """Whether a query has `alias.column`."""
    return any(
        first.identifier == alias and dot.text == "." and second.identifier == column
        for first, dot, second in zip(query, query[1:], query[2:], strict=False)
    )
