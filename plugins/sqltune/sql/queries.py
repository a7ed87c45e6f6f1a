"""Questions on a query's text, and changes of it that keep its meaning for a comparison of rows."""

from __future__ import annotations

import itertools
import re
from functools import lru_cache

from sqltune.sql.tokens import MAX_LENGTH, Token, each_token, join, meaningful, tokens

_SPLIT_OPERATOR = re.compile(r"[<>!]\s+=")
_BLANKS = re.compile(r"[ \t\n\f\r]+")
_COMMENTS = ("--", "/*")
_PREFIX = 2000
"""Characters in which the first word of a query is looked for."""
_REMEMBERED = 64
"""Queries whose form is remembered: the same few are compared on many small databases."""


@lru_cache(_REMEMBERED)
def without_distinct(query: str) -> str:
    """The query with every DISTINCT dropped."""
    return join(t for t in tokens(query) if t.key != "distinct") if "distinct" in query.lower() else query


@lru_cache(_REMEMBERED)
def has_order_by(query: str) -> bool:
    """Whether a query orders rows, anywhere in it.

    Then the order of its rows counts, as in the official evaluation.
    """
    # Most queries have none: searching the text is faster than splitting it into tokens.
    if "order" not in query.lower():
        return False
    keys = [t.key for t in meaningful(tokens(query))]
    return ("order", "by") in itertools.pairwise(keys)


def has_limit(query: str) -> bool:
    """Whether a query has a LIMIT, anywhere in it."""
    return "limit" in query.lower() and any(t.key == "limit" for t in tokens(query))


def yields_a_set(query: str) -> bool:
    """Whether a query has INTERSECT or EXCEPT, whose results hold no row twice."""
    if not re.search("intersect|except", query, re.IGNORECASE):
        return False
    return any(t.key in ("intersect", "except") for t in tokens(query))


@lru_cache(_REMEMBERED)
def with_joined_operators(query: str) -> str:
    """The query with comparison operators that Spider's annotators split (`> =`) joined again."""
    # Few queries have one: searching the text is faster than splitting it into tokens.
    if not _SPLIT_OPERATOR.search(query):
        return query
    result: list[Token] = []
    for token in tokens(query):
        split = token.text == "=" and len(result) > 1 and result[-1].kind == "space"
        if split and result[-2].text in (">", "<", "!"):
            result[-2:] = [Token("sign", result[-2].text + "=")]
        else:
            result.append(token)
    return join(result)


@lru_cache(_REMEMBERED)
def first_word(query: str) -> str:
    """The first word or sign of a query other than a parenthesis, in lower case; '' if it has none."""
    read = (t for t in each_token(query[:_PREFIX]) if t.kind not in ("space", "comment"))
    return next((t.text.lower() for t in read if t.text != "("), "")


def same_spelling(one: str, other: str) -> bool:
    """Whether two queries differ at most in blanks, comments, the case of words and a semicolon at the end.

    Such queries return the same rows, or both do not run: the case of words counts only in quotes.
    """
    # Most queries differ in more: comparing the texts is faster than splitting them into tokens.
    may_be = _squeezed(one) == _squeezed(other) or any(begin in one + other for begin in _COMMENTS)
    return may_be and _spelling(one) == _spelling(other)


def _squeezed(query: str) -> str:
    return "".join(query.lower().split()).rstrip(";")


def _spelling(query: str) -> list[str]:
    """The parts of a query that count for SQLite: it knows neither blanks nor case beyond ASCII."""
    # No token has what is beyond the length that is read.
    parts = [query[MAX_LENGTH:]]
    before = ""
    for token in tokens(query):
        if (before, token.kind) == ("word", "text"):
            # x'00' is a blob, x '00' a column and its alias.
            parts[-1] += token.text
        elif not _is_skipped(token):
            parts.append(token.text.lower() if token.kind == "word" and token.text.isascii() else token.text)
        before = token.kind
    return parts[:-1] if parts[-1] == ";" else parts


def _is_skipped(token: Token) -> bool:
    """Whether SQLite skips a token: to it, `/*` at the end of a query begins no comment."""
    if token.kind == "comment":
        # A query with a null character is refused, wherever it is.
        return token.text != "/*" and "\0" not in token.text
    return _BLANKS.fullmatch(token.text) is not None


@lru_cache(_REMEMBERED)
def with_ties_broken(query: str, columns: int, descending: bool) -> str:
    """The query with every ORDER BY continued by its own output columns, so that rows that tie have an order.

    Args:
        query: the query.
        columns: how many columns the outermost SELECT has; of the inner ones the first is taken.
        descending: in which of the two orders ties are broken.
    """
    result: list[Token] = []
    direction = " DESC" if descending else ""
    open_at: list[int] = []
    depth, last = 0, ""
    for token in tokens(query):
        if _ends_order_by(token) and open_at and open_at[-1] == depth:
            open_at.pop()
            result.append(_positions(columns if depth == 0 else 1, direction))
        depth += (token.text == "(") - (token.text == ")")
        if token.key == "by" and last == "order":
            open_at.append(depth)
        if token.kind not in ("space", "comment"):
            last = token.key
        result.append(token)
    result += [_positions(columns, direction) for _ in open_at[:1]]
    return join(result)


def _ends_order_by(token: Token) -> bool:
    return token.text in (")", ";") or token.key in ("limit", "union", "intersect", "except")


def _positions(columns: int, direction: str) -> Token:
    return Token("word", "".join(f", {i}{direction}" for i in range(1, columns + 1)) + " ")
