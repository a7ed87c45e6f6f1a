"""The literals of a gold query: numbers, dates, texts, and what each is for."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

from sqltune.evaluation.audit.moments import Date
from sqltune.sql.tokens import Token, join, meaningful, tokens, unquoted

Use = Literal["limit", "factor", "current_year", "value"]


@dataclass(frozen=True)
class GoldNumber:
    """A number of a query."""

    value: float
    """Without its sign: below zero may be said in words."""
    use: Use
    comparison: str = ""
    """The comparison that it is on the right of."""

    @property
    def values(self) -> frozenset[float]:
        """What a question may call it: at least 5 is > 4 too."""
        neighbour = {">": 1, ">=": -1, "<": -1, "<=": 1}.get(self.comparison)
        if neighbour is None or not self.value.is_integer():
            return frozenset({self.value})
        return frozenset({self.value, self.value + neighbour})


@dataclass(frozen=True)
class GoldLiterals:
    """The literals of a query."""

    numbers: tuple[GoldNumber, ...]
    texts: tuple[str, ...]
    unquoted_dates: tuple[tuple[str, Date], ...]
    """Dates without quotes, which SQL computes as subtractions: 2010-01-01 is 2008."""


def gold_literals(gold: str, names: Collection[str]) -> GoldLiterals:
    """Read the literals of a query.

    Args:
        gold: the query.
        names: tables and columns of its schema, in lower case: SQLite takes "double quotes" that name nothing
            for text.
    """
    query, found = _without_dates(tokens(gold))
    return GoldLiterals(
        numbers=tuple(_number(query, i) for i, t in enumerate(query) if t.kind == "number"),
        texts=tuple(unquoted(t.text) for i, t in enumerate(query) if _is_text(query, i, names)),
        unquoted_dates=tuple(found),
    )


def _without_dates(query: Sequence[Token]) -> tuple[list[Token], list[tuple[str, Date]]]:
    """The tokens without blanks and without dates that have no quotes; and those dates."""
    rest: list[Token] = []
    found: list[tuple[str, Date]] = []
    i = 0
    while i < len(query):
        date = _date_at(query, i)
        if date is None:
            rest.append(query[i])
            i += 1
        else:
            found.append((join(query[i : i + 5]), date))
            i += 5
    return meaningful(rest), found


def _date_at(query: Sequence[Token], i: int) -> Date | None:
    parts = query[i : i + 5]
    if [t.kind for t in parts] != ["number", "sign", "number", "sign", "number"]:
        return None
    if parts[1].text != "-" or parts[3].text != "-" or len(parts[0].text) != 4:
        return None
    try:
        year, month, day = (int(parts[k].text) for k in (0, 2, 4))
    except ValueError:
        return None
    return Date(year, month, day) if 1 <= month <= 12 and 1 <= day <= 31 else None


def _number(query: Sequence[Token], i: int) -> GoldNumber:
    left = query[i - 1] if i else Token("sign", "")
    right = query[i + 1] if i + 1 < len(query) else Token("sign", "")
    value = float(query[i].text)
    if left.key in ("limit", "offset") or (left.text == "," and i > 2 and query[i - 3].key == "limit"):
        return GoldNumber(value, "limit")
    if left.text in ("*", "/") or right.text in ("*", "/"):
        return GoldNumber(value, "factor")
    if right.text == "-":
        return GoldNumber(value, "current_year")
    if left.text == "-" and i > 1:
        left = query[i - 2]
    return GoldNumber(value, "value", left.text)


def _is_text(query: Sequence[Token], i: int, names: Collection[str]) -> bool:
    token = query[i]
    if token.kind == "text":
        return len(token.text) > 1
    if token.kind != "name" or token.text[0] != '"' or token.identifier in names:
        return False
    after = query[i + 1].text if i + 1 < len(query) else ""
    before = query[i - 1] if i else Token("sign", "")
    return after != "." and before.text != "." and before.key not in ("as", "from", "join")
