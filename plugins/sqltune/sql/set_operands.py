"""Set operations over operands in parentheses, which SQLite does not read."""

from __future__ import annotations

from collections.abc import Sequence

from sqltune.sql.scopes import closing_index, next_index
from sqltune.sql.tokens import SET_OPERATIONS, Token, outside_parentheses, tokens

_SELECT_FROM = tuple(tokens("select * from ("))
_JOINERS = (*SET_OPERATIONS, "all")


def set_operands(query: Sequence[Token]) -> list[Token]:
    """`( select … ) except ( select … )` becomes `select … except select …`.

    An operand with an ORDER BY, a LIMIT or a set operation of its own becomes `select * from ( … )`.
    """
    result = list(query)
    i = 0
    while i < len(result):
        end = _operand_end(result, i)
        if end < 0:
            i += 1
            continue
        prefix, suffix = (_SELECT_FROM, (Token("sign", ")"),)) if _needs_select(result, i, end) else ((), ())
        result[i : end + 1] = [*prefix, *result[i + 1 : end], *suffix]
        # Behind the prefix: its own parenthesis would be taken for an operand again, without end.
        i += len(prefix)
    return result


def _operand_end(query: Sequence[Token], i: int) -> int:
    """Index of the end of the operand in parentheses that begins at `i`; -1 if none begins there."""
    inner = next_index(query, i + 1)
    if query[i].text != "(" or inner < 0 or not (query[inner].key == "select" or query[inner].text == "("):
        return -1
    end = closing_index(query, i)
    if end < 0:
        return -1
    before, after = _neighbours(query, i, end)
    joined = before in _JOINERS or after in SET_OPERATIONS
    return end if joined or (not before and not after) else -1


def _neighbours(query: Sequence[Token], begin: int, end: int) -> tuple[str, str]:
    """The keyword or sign before and after a pair of parentheses; '' at the ends of the query."""
    around = (next_index(query, begin - 1, -1), next_index(query, end + 1))
    before, after = ("" if i < 0 else query[i].key or query[i].text for i in around)
    return before, after


def _needs_select(query: Sequence[Token], begin: int, end: int) -> bool:
    """Whether an operand means something else without its parentheses."""
    own = {t.key for t in outside_parentheses(query[begin + 1 : end])} & {*SET_OPERATIONS, "order", "limit"}
    return bool(own) and any(_neighbours(query, begin, end))
