"""Rules for single habits of DuSQL's dialect; each does nothing to a query without the habit."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from sqltune.sql.names import quote_unit_names, quoted
from sqltune.sql.scopes import next_index
from sqltune.sql.tokens import Token, join, meaningful, tokens

YEAR = "2020"
"""The value of TIME_NOW: the year of DuSQL's contents. Fixed, so that no answer changes with the date."""

_HEXADECIMAL = re.compile(r"0[xX][0-9a-fA-F]+")
_CLOCK = r"\d{1,2}(:\d{2}){1,2}"
_TIME_OR_RANGE = re.compile(rf"{_CLOCK}(~{_CLOCK})?|\d+~\d+")


def split_limit(query: Sequence[Token]) -> list[Token]:
    """`limit3` becomes `limit 3`."""
    result: list[Token] = []
    for token in query:
        number = re.fullmatch(r"limit(\d+)", token.key)
        result += tokens(f"{token.text[:5]} {number[1]}") if number else [token]
    return result


def quote_names(query: Sequence[Token]) -> list[Token]:
    """`from 2008北京奥运会奖牌榜` becomes `from "2008北京奥运会奖牌榜"`: no name begins with a digit.

    `总GDP(亿)` becomes `"总GDP(亿)"`. For queries without a schema; with one, `quote_known_names` knows more.
    """
    return [Token("name", quoted(t.text)) if _begins_with_digit(t) else t for t in quote_unit_names(query)]


def _begins_with_digit(token: Token) -> bool:
    return token.kind == "word" and token.text[0].isdigit() and not _HEXADECIMAL.fullmatch(token.text)


def quote_times(query: Sequence[Token]) -> list[Token]:
    """`出发时间 < 13:30:00` becomes `出发时间 < '13:30:00'`; ranges too: `10:00:00~21:00:00`, `1~10`."""
    result: list[Token] = []
    i = 0
    while i < len(query):
        end = i
        while end < len(query) and (query[end].kind == "number" or query[end].text in (":", "~")):
            end += 1
        text = join(query[i:end])
        is_time = _TIME_OR_RANGE.fullmatch(text) is not None
        result.append(Token("text", f"'{text}'") if is_time else query[i])
        i = end if is_time else i + 1
    return result


def replace_time_now(query: Sequence[Token]) -> list[Token]:
    """`TIME_NOW - 成立时间` becomes `2020 - 成立时间`."""
    return [Token("number", YEAR) if token.key == "time_now" else token for token in query]


def separate_columns(query: Sequence[Token], names: Collection[str]) -> list[Token]:
    """`select 姓名 出生地 职业 from 演员` becomes `select 姓名 , 出生地 , 职业 from 演员`.

    Two names in a row are a column and its alias; three or more are columns without their commas.

    Args:
        query: the tokens of a query.
        names: the names of the schema.
    """
    known = {name.lower() for name in names}
    result: list[Token] = []
    i = 0
    while i < len(query):
        end = _names_end(query, i, known)
        row = meaningful(query[i:end])
        before = next_index(query, i - 1, -1)
        if len(row) > 2 and before >= 0 and query[before].key == "select":
            result += tokens(" , ".join(t.text for t in row))
            i = end
        else:
            result.append(query[i])
            i += 1
    return result


def _names_end(query: Sequence[Token], i: int, known: Collection[str]) -> int:
    """Index after the last of the known names that follow one another from `i` on."""
    end = at = i
    while 0 <= at < len(query) and query[at].identifier in known:
        end = at + 1
        at = next_index(query, end)
    return end
