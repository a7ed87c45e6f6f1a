"""What queries compare, join and group: the hints that the rows of a synthetic database follow.

They are read from the tokens, so that a query which no parser accepts gives hints too.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from sqltune.sql.schema import Place, Table
from sqltune.sql.tokens import SET_OPERATIONS, Token, meaningful, tokens, unquoted


@dataclass
class Hints:
    """What a gold query and a prediction compare, join and group."""

    literals: dict[Place, list[object]] = field(default_factory=lambda: defaultdict(list))
    compared_by: dict[tuple[Place, object], int] = field(default_factory=dict)
    """Which query (0 or 1) is the first to compare a column with a literal."""
    summed: set[Place] = field(default_factory=set)
    """Columns of AVG and SUM: numbers, whatever their type in the context."""
    joined: list[tuple[Place, Place]] = field(default_factory=list)
    shared: set[Place] = field(default_factory=set)
    """Columns that are grouped by, or on both sides of a set operation: few values, each in several rows."""
    both_sides: set[Place] = field(default_factory=set)
    """The columns of set operations among them: one side may have rows that the other one removes."""
    sizes: set[int] = field(default_factory=set)
    """Sizes of groups that queries compare."""
    nulls: set[Place] = field(default_factory=set)
    """Columns that queries compare with NULL."""


_COMPARE = {"=", "==", "<", ">", "<=", ">=", "!=", "<>", "like", "is", "in", "between", "glob"}
_BEFORE_ALIAS = {"from", "join", ","}
_NO_ALIAS = {
    "where",
    "on",
    "join",
    "inner",
    "left",
    "right",
    "full",
    "cross",
    "natural",
    "group",
    "order",
    "having",
    "limit",
    "union",
    "intersect",
    "except",
    "as",
    "using",
    "set",
}


GROUP_BY_TOKENS, SELECT_TOKENS, LIST_TOKENS = 8, 12, 60
"""Tokens that are read of a GROUP BY, a SELECT list, a list of literals: hostile queries are long."""
LARGEST_GROUP_SIZE = 12
"""Sizes of groups up to here are hints: larger ones would need too many rows."""
LARGEST = 10**18
"""Numbers from here on give no hint: the values around them would not fit SQLite's integers."""


def number(text: str) -> int | float | None:
    """A text as a number, to the last digit; None if it is not a number, or too large."""
    try:
        value = int(text) if re.fullmatch(r"-?\d{1,19}", text) else float(text)
    except ValueError:
        return None
    if not abs(value) < LARGEST:
        return None
    return int(value) if value == int(value) else value


def _value(token: Token, negative: bool) -> object:
    """The value of a literal; None if it gives no hint."""
    if token.kind == "text":
        return unquoted(token.text) if token.text.endswith("'") and len(token.text) > 1 else token.text[1:]
    if token.kind == "name":
        return unquoted(token.text)
    value = number(token.text)
    return -value if negative and value is not None else value


class _Reader:
    """Finds the hints of one query in its tokens, and leaves out what it does not understand."""

    def __init__(self, tables: Sequence[Table], hints: Hints, query: str, number: int) -> None:
        self.hints, self.number = hints, number
        self.tokens = meaningful(tokens(query))
        self.columns: dict[str, list[Place]] = defaultdict(list)
        for table in tables:
            for column in table.columns:
                self.columns[column.name.lower()].append((table.name.lower(), column.name.lower()))
        names = {t.name.lower() for t in tables}
        self.aliases: dict[str, str] = {}
        for i, t in enumerate(self.tokens[:-1]):
            name = self.tokens[i + 1].identifier
            if (t.key or t.text) in _BEFORE_ALIAS and name in names:
                rest = self.tokens[i + 2 : i + 4]
                alias = rest[1] if len(rest) == 2 and rest[0].key == "as" else rest[0] if rest else None
                if alias is not None and alias.identifier and alias.key not in _NO_ALIAS:
                    self.aliases[alias.identifier] = name
                self.aliases.setdefault(name, name)

    def place(self, i: int) -> list[Place]:
        """The columns that the name which ends at token `i` may mean."""
        t = self.tokens[i]
        candidates = self.columns.get(t.identifier, [])
        if i >= 2 and self.tokens[i - 1].text == ".":
            table = self.aliases.get(self.tokens[i - 2].identifier)
            return [p for p in candidates if p[0] == table] or candidates
        used = [p for p in candidates if p[0] in self.aliases.values()]
        return used or candidates

    def is_literal(self, i: int) -> bool:
        t = self.tokens[i]
        # SQLite takes "double quotes" that name no column for text, and Spider's golds are full of them.
        return t.kind in ("text", "number") or (
            t.kind == "name"
            and t.text[0] == '"'
            and t.identifier not in self.columns
            and not (i + 1 < len(self.tokens) and self.tokens[i + 1].text == ".")
        )

    def read(self) -> None:
        ts = self.tokens
        for i, t in enumerate(ts):
            sign = t.key or t.text
            if sign in _COMPARE and 0 < i < len(ts) - 1:
                self._comparison(i, sign)
            elif sign == "by" and ts[i - 1].key == "group":
                for j in range(i + 1, min(i + GROUP_BY_TOKENS, len(ts))):
                    if (
                        ts[j].key in ("having", "order", "limit", "union", "intersect", "except")
                        or ts[j].text == ")"
                    ):
                        break
                    self._share(j)
            elif sign in ("avg", "sum") and i + 2 < len(ts) and ts[i + 1].text == "(":
                j = i + 2
                while j + 2 < len(ts) and ts[j + 1].text == ".":
                    j += 2
                self.hints.summed.update(self.place(j))
            elif sign == "select" and any(x.key in SET_OPERATIONS for x in ts):
                for j in range(i + 1, min(i + SELECT_TOKENS, len(ts))):
                    if ts[j].key == "from":
                        break
                    self._share(j)
                    self.hints.both_sides.update(self.place(j))

    def _share(self, i: int) -> None:
        self.hints.shared.update(self.place(i))

    def _comparison(self, i: int, sign: str) -> None:
        ts = self.tokens
        j = i + 1
        left = i - 1 - (ts[i - 1].key == "not")
        while j < len(ts) - 1 and (ts[j].text == "(" or ts[j].key in ("not", "lower", "upper", "trim")):
            j += 1
        if sign == "in" and ts[j].key == "select":
            j += 1 + (ts[j + 1].key == "distinct")
            while j + 2 < len(ts) and ts[j + 1].text == ".":
                j += 2
            inner = next((ts[k + 1].identifier for k in range(j, len(ts) - 1) if ts[k].key == "from"), "")
            self._join(left, j, self.aliases.get(inner, inner))
            return
        wrapped = ts[left].text == ")"
        while left > 0 and ts[left].text == ")":
            left -= 1
        if self.is_literal(left) and not self.is_literal(j):
            left, j = j, left
            if left + 2 < len(ts) and ts[left + 1].text == ".":
                left += 2
        many = sign in ("in", "between")
        end = min(len(ts), j + LIST_TOKENS) if many else j + 1
        negative = ts[j].text == "-"
        if negative and not many:
            j, end = j + 1, j + 2
        values = []
        for k in range(j, min(end, len(ts))):
            if self.is_literal(k):
                if (value := _value(ts[k], ts[k - 1].text == "-")) is not None:
                    values.append(value)
                if sign == "between" and len(values) == 2:
                    break
            elif many and (ts[k].text == ")" or ts[k].key in ("or", "group", "order")):
                break
        if values:
            places = self.place(left)
            counted = ts[left].text == "*" or (
                wrapped and any(x.key in ("count", "sum", "avg") for x in ts[max(0, left - 4) : left])
            )
            if counted:
                self.hints.sizes |= {
                    int(v) for v in values if isinstance(v, int | float) and 0 < v <= LARGEST_GROUP_SIZE
                }
            for place in [] if counted else places:
                self.hints.literals[place] += values
                for value in values:
                    self.hints.compared_by.setdefault((place, value), self.number)
        elif sign == "is" and not any(t.key in ("left", "right", "full", "outer") for t in ts):
            # Behind an outer join it selects rows without a partner, and those exist anyway.
            self.hints.nulls.update(self.place(left))
        elif sign in ("=", "=="):
            right = j
            while right + 2 < len(ts) and ts[right + 1].text == ".":
                right += 2
            self._join(left, right)

    def _join(self, left: int, right: int, table: str = "") -> None:
        rights = self.place(right) if right < len(self.tokens) else []
        rights = [p for p in rights if p[0] == table] or rights
        lefts = self.place(left) if left >= 0 else []
        if table and len(lefts) > 1:
            # The outer column of an IN belongs to another table than the inner one, if it may.
            lefts = [p for p in lefts if p[0] != table] or lefts
        for a in lefts[:2]:
            for b in rights[:2]:
                if a != b:
                    self.hints.joined.append((a, b))


def hints_of(tables: Sequence[Table], *queries: str) -> Hints:
    """What queries compare, join and group."""
    hints = Hints()
    for number, query in enumerate(queries):
        _Reader(tables, hints, query, number).read()
    return hints
