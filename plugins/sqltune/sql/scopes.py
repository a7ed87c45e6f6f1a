"""The SELECTs of a query, and what each calls its tables; read from the tokens."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from sqltune.sql.tokens import Token, outside_parentheses, words

_NO_ALIAS = words(
    """
    where on join inner left right full cross natural group order having limit union intersect except as using
    """
)
"""Keywords that may follow a table in FROM, where its alias would be."""
_CLAUSES = words("select from where group order having")


def next_index(query: Sequence[Token], i: int, step: int = 1) -> int:
    """Index of the first token from `i` on that is not a blank or comment; -1 if none follows.

    Args:
        query: the tokens of a query.
        i: where to begin; may lie outside the query.
        step: 1 to search forwards, -1 backwards.
    """
    while 0 <= i < len(query):
        if query[i].kind not in ("space", "comment"):
            return i
        i += step
    return -1


def closing_index(query: Sequence[Token], i: int) -> int:
    """Index of the parenthesis that closes the one at `i`; -1 if none does."""
    depth = 0
    for j in range(i, len(query)):
        depth += (query[j].text == "(") - (query[j].text == ")")
        if depth == 0:
            return j
    return -1


@dataclass(frozen=True)
class TableUse:
    """A table in a FROM clause."""

    table: str
    alias: str
    """'' if it has none."""
    index: int
    """Index of the table's token."""


@dataclass
class Scope:
    """One SELECT: the tokens between `begin` and `end`, the SELECT around it, and its tables."""

    begin: int
    end: int
    outer: Scope | None
    tables: list[TableUse] = field(default_factory=list)

    def and_outer(self) -> Iterator[Scope]:
        """This SELECT and those around it, the innermost first."""
        scope: Scope | None = self
        while scope is not None:
            yield scope
            scope = scope.outer

    def table_of(self, alias: str) -> str:
        """The table that an alias stands for, here or further out; '' if none has it."""
        uses = (use for scope in self.and_outer() for use in scope.tables)
        return next((use.table for use in uses if use.alias == alias), "")

    def aliases_of(self, table: str) -> list[str]:
        """The aliases of a table in this SELECT, in their order."""
        return [use.alias for use in self.tables if use.table == table and use.alias]

    def knows(self, name: str) -> bool:
        """Whether columns may be qualified with a name: an alias, or a table without one."""
        return any(name == (use.alias or use.table) for use in self.tables)


def scopes(query: Sequence[Token]) -> list[Scope]:
    """Every SELECT of a query with its tables, outer ones first."""
    reader = _Reader(query)
    for i, token in enumerate(query):
        reader.read(i, token)
    return reader.scopes


class _Reader:
    """Reads a query token by token, and keeps track of the SELECT it is in."""

    def __init__(self, query: Sequence[Token]) -> None:
        self.query = query
        self.scopes: list[Scope] = []
        self._current: Scope | None = None
        self._around: list[Scope | None] = []
        """The SELECT around each parenthesis that is open."""

    def read(self, i: int, token: Token) -> None:
        if token.text == "(":
            self._around.append(self._current)
        elif token.text == ")" and self._around:
            self._enter(i, self._around.pop())
        elif token.key == "select":
            self._select(i)
        elif self._current is not None and self._table_follows(i, token, self._current):
            self._current.tables += self._table(next_index(self.query, i + 1))

    def _enter(self, i: int, scope: Scope | None) -> None:
        """The current SELECT ends at `i`, unless `scope` is it."""
        if self._current is not None and self._current is not scope:
            self._current.end = i
        self._current = scope

    def _select(self, i: int) -> None:
        outer = self._around[-1] if self._around else None
        # The SELECT after a set operation is a neighbour, not a part.
        self._enter(i, outer)
        self._current = Scope(i, len(self.query), outer)
        self.scopes.append(self._current)

    def _table_follows(self, i: int, token: Token, scope: Scope) -> bool:
        if token.key in ("from", "join"):
            return True
        return token.text == "," and bool(scope.tables) and self._in_from(scope, i)

    def _in_from(self, scope: Scope, i: int) -> bool:
        """Whether token `i` is in the FROM clause of a SELECT."""
        clauses = [t.key for t in outside_parentheses(self.query[scope.begin : i]) if t.key in _CLAUSES]
        return clauses[-1:] == ["from"]

    def _table(self, name: int) -> list[TableUse]:
        """The table at index `name` with its alias; nothing if another construct is there."""
        if name <= 0 or not self.query[name].identifier:
            return []
        after = next_index(self.query, name + 1)
        if after > 0 and self.query[after].key == "as":
            after = next_index(self.query, after + 1)
        has_alias = after > 0 and self.query[after].key not in _NO_ALIAS
        return [
            TableUse(self.query[name].identifier, self.query[after].identifier if has_alias else "", name)
        ]
