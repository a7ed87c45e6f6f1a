"""SQL as tokens: enough to rewrite a query without parsing it, for text that no parser may read."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

MAX_LENGTH = 100_000
"""Characters of a query that are looked at; no answer to a question is longer."""

Kind = Literal["space", "comment", "text", "name", "number", "word", "sign"]

_TOKEN = re.compile(
    r"""(?P<space>\s+)
      | (?P<comment>--[^\n]*|/\*.*?(?:\*/|\Z))
      | (?P<text>'(?:[^']|'')*(?:'|\Z))
      | (?P<name>"(?:[^"]|"")*(?:"|\Z)|`[^`]*(?:`|\Z)|\[[^\]]*(?:\]|\Z))
      | (?P<number>(?:\d+(?:\.\d*)?|(?<![\w$"`\]])\.\d+)(?:[eE][+-]?\d+)?(?![\w$]))
      | (?P<word>[\w$]+)
      | (?P<sign><>|[<>!=]=|\|\||.)""",
    re.X | re.S,
)


def words(text: str) -> frozenset[str]:
    """The words of a text, for tables of keywords."""
    return frozenset(text.split())


SET_OPERATIONS = ("union", "intersect", "except")


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of a query. Joined again, all pieces are the query."""

    kind: Kind
    text: str

    @property
    def key(self) -> str:
        """A word in lower case; '' for everything else."""
        return self.text.lower() if self.kind == "word" else ""

    @property
    def identifier(self) -> str:
        """What a name or word names, without its quotes and in lower case; '' for everything else."""
        if self.kind == "word":
            return self.text.lower()
        return self.text[1:-1].replace('""', '"').lower() if self.kind == "name" else ""


def tokens(query: str) -> list[Token]:
    """Every piece of a query, blanks and comments among them. Never fails: what is not SQL comes as signs and words."""
    return [Token(m.lastgroup, m[0]) for m in _TOKEN.finditer(query[:MAX_LENGTH])]  # type: ignore[arg-type]


def meaningful(found: Iterable[Token]) -> list[Token]:
    """Without blanks and comments."""
    return [t for t in found if t.kind not in ("space", "comment")]


def join(found: Iterable[Token]) -> str:
    """Tokens as text again."""
    return "".join(t.text for t in found)


def outside_parentheses(found: Iterable[Token]) -> list[Token]:
    """Tokens that stand in no parentheses."""
    out, depth = [], 0
    for t in found:
        depth += t.text == "("
        if depth == 0:
            out.append(t)
        depth -= t.text == ")"
    return out


def without_distinct(query: str) -> str:
    """The query with every DISTINCT dropped."""
    return join(t for t in tokens(query) if t.key != "distinct") if "distinct" in query.lower() else query


def orders(query: str) -> bool:
    """Whether a query orders rows, anywhere in it: then the order of its rows counts, as in the official evaluation."""
    lower = query.lower()
    if "order" not in lower:
        return False
    words = [t.key for t in meaningful(tokens(query))]
    return any(a == "order" and b == "by" for a, b in itertools.pairwise(words))


def drops_duplicates(query: str) -> bool:
    """Whether a query asks for what is in two results, or in one and not the other: a set, in which nothing is twice."""
    return (
        any(t.key in ("intersect", "except") for t in tokens(query))
        if re.search("intersect|except", query, re.I)
        else False
    )


def mended(query: str) -> str:
    """Comparison signs that Spider's annotators wrote apart (`> =`), put together; text in quotes is left alone."""
    if "=" not in query:
        return query
    out: list[Token] = []
    for t in tokens(query):
        if t.text == "=" and len(out) > 1 and out[-1].kind == "space" and out[-2].text in (">", "<", "!"):
            out[-2:] = [Token("sign", out[-2].text + "=")]
        else:
            out.append(t)
    return join(out)


def first_word(query: str) -> str:
    """The first word or sign, in lower case."""
    return next(
        (
            t.text.lower()
            for t in tokens(query[:2000])
            if t.kind not in ("space", "comment") and t.text != "("
        ),
        "",
    )


def unquoted(text: str) -> str:
    """What a literal or quoted name says."""
    return text[1:-1].replace(text[0] * 2, text[0])


def with_ties_broken(query: str, columns: int, descending: bool) -> str:
    """The query with every ORDER BY continued by its own output columns, so that rows that tie come in one order or the other.

    :param columns: how many the outermost SELECT puts out; of the inner ones the first is taken.
    """
    out: list[Token] = []
    way = " DESC" if descending else ""
    depth, open_at, last = 0, [], ""
    for t in tokens(query):
        ends = t.text == ")" or t.key in ("limit", "union", "intersect", "except") or t.text == ";"
        if ends and open_at and open_at[-1] == depth:
            open_at.pop()
            out.append(Token("word", _positions(columns if depth == 0 else 1, way)))
        depth += (t.text == "(") - (t.text == ")")
        if t.key == "by" and last == "order":
            open_at.append(depth)
        if t.kind not in ("space", "comment"):
            last = t.key
        out.append(t)
    out += [Token("word", _positions(columns, way)) for _ in open_at[:1]]
    return join(out)


def _positions(columns: int, way: str) -> str:
    return "".join(f", {i}{way}" for i in range(1, columns + 1)) + " "
