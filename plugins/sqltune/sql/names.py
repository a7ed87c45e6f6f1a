"""Names of tables and columns: which of them SQL needs in quotes, and where they occur in a query."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence

from sqltune.sql.tokens import Token, join, tokens, words

RESERVED = words(
    """
    add all alter and as autoincrement between case cast check collate commit constraint create current_date
    current_time current_timestamp default deferrable delete distinct drop else escape except exists foreign
    from group having in index insert intersect into is isnull join limit not nothing notnull null on or order
    primary raise references returning select set table then to transaction union unique update using values
    when where
    """
)
"""Words that SQLite does not read as a column's name unless they are in quotes (tried one by one on 3.40)."""

_BARE_NAME = re.compile(r"[^\W\d][\w$]*")

_OPERAND_FOLLOWS = words(
    """
    select distinct all from join where on and or having by in like between when then else as limit offset
    using is glob case references
    """
)
"""Keywords that a value or a name follows."""

_BEGINS_OPERAND = words("select not case null exists distinct all cast values raise")
"""Reserved words that may occur where a value is expected: there they are keywords, not names."""


def quoted(name: str) -> str:
    """A name in SQL's double quotes."""
    return '"' + name.replace('"', '""') + '"'


def needs_quotes(name: str) -> bool:
    """Whether SQLite misreads a name without quotes: it is reserved, or not a plain word."""
    return name.lower() in RESERVED or not _BARE_NAME.fullmatch(name)


def quote_known_names(query: Sequence[Token], names: Iterable[str]) -> list[Token]:
    """Put quotes around the names that need them.

    `总GDP(亿)` with a column of that name becomes `"总GDP(亿)"`, not a function call. Full-width and ASCII
    punctuation are the same: the result has the name as the schema spells it.

    Args:
        query: the tokens of a query.
        names: all names of the schema that the query is for.

    Returns:
        The tokens of the query, with each such name as one token.
    """
    awkward = [name for name in names if needs_quotes(name)]
    return _quote_reserved_words(
        _quote_phrases(query, awkward), {n.lower(): n for n in awkward if _BARE_NAME.fullmatch(n)}
    )


def quote_unit_names(query: Sequence[Token]) -> list[Token]:
    """Put quotes around `总GDP(亿)` where the schema is not known.

    A word with non-ASCII letters and parentheses directly after it can only be a name: no SQLite function
    has such letters.
    """
    result: list[Token] = []
    i = 0
    while i < len(query):
        end = _unit_end(query, i)
        result.append(Token("name", quoted(join(query[i:end]))) if end > i + 1 else query[i])
        i = end
    return result


def _unit_end(query: Sequence[Token], i: int) -> int:
    """Index after the parentheses that directly follow the non-ASCII word at `i`; `i + 1` without any."""
    if (
        query[i].kind != "word"
        or query[i].text.isascii()
        or i + 1 >= len(query)
        or query[i + 1].text not in ("(", "（")
    ):
        return i + 1
    for j in range(i + 2, len(query)):
        if query[j].text in (")", "）"):
            return j + 1
        if query[j].kind in ("space", "text", "comment") or query[j].text in ("(", "（"):
            break
    return i + 1


def _canonical(text: str) -> str:
    return unicodedata.normalize("NFKC", text).lower()


def _quote_phrases(query: Sequence[Token], names: Iterable[str]) -> list[Token]:
    """Quote the names that are more than one word, or begin with a digit; the longest one that fits."""
    pieces = {
        name: [_canonical(t.text) for t in tokens(name)] for name in names if not _BARE_NAME.fullmatch(name)
    }
    by_first: dict[str, list[tuple[list[str], str]]] = {}
    for name, parts in sorted(pieces.items(), key=lambda item: -len(item[1])):
        if len(parts) > 1 or tokens(name)[0].kind == "word":
            by_first.setdefault(parts[0], []).append((parts, name))
    if not by_first:
        return list(query)
    texts = [_canonical(t.text) if t.kind not in ("text", "name", "comment") else "" for t in query]
    result: list[Token] = []
    i = 0
    while i < len(query):
        name, length = next(
            (
                (name, len(parts))
                for parts, name in by_first.get(texts[i], [])
                if _fits(query, texts, parts, i)
            ),
            ("", 1),
        )
        result.append(Token("name", quoted(name)) if name else query[i])
        i += length
    return result


def _fits(query: Sequence[Token], texts: Sequence[str], parts: Sequence[str], i: int) -> bool:
    """Whether a name begins at `i`, and is not the beginning of a longer word."""
    end = i + len(parts)
    return list(texts[i:end]) == list(parts) and not (
        end < len(query) and query[end].kind in ("word", "number")
    )


def _quote_reserved_words(query: Sequence[Token], names: dict[str, str]) -> list[Token]:
    """Quote reserved words that name a column or table: after a dot, or where a value must follow."""
    if not names:
        return list(query)
    result: list[Token] = []
    operand = behind_dot = False
    for token in query:
        if token.kind in ("space", "comment"):
            result.append(token)
            continue
        is_name = token.key in names and (behind_dot or (operand and token.key not in _BEGINS_OPERAND))
        result.append(Token("name", quoted(names[token.key])) if is_name else token)
        operand = not is_name and _operand_follows(token, operand)
        behind_dot = token.text == "."
    return result


def _operand_follows(token: Token, operand: bool) -> bool:
    """Whether a value or a name must follow a token, given whether one was expected at it."""
    if token.key == "not":
        return operand
    if token.kind == "word":
        return token.key in _OPERAND_FOLLOWS
    if token.text == "*":
        return not operand
    return token.kind == "sign" and token.text not in (")", ";", ".")
