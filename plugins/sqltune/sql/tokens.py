"""SQL as tokens: enough to rewrite a query without parsing it, even one that no parser accepts."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Literal, NamedTuple

MAX_LENGTH = 100_000
"""Characters of a query that are read; no answer to a question is longer."""

Kind = Literal["space", "comment", "text", "name", "number", "word", "sign"]

_TOKEN = re.compile(
    r"""(?P<space>\s+)
      | (?P<comment>--[^\n]*|/\*.*?(?:\*/|\Z))
      | (?P<text>'(?:[^']|'')*(?:'|\Z))
      | (?P<name>"(?:[^"]|"")*(?:"|\Z)|`[^`]*(?:`|\Z)|\[[^\]]*(?:\]|\Z))
      | (?P<number>(?:\d+(?:\.\d*)?|(?<![\w$"`\]])\.\d+)(?:[eE][+-]?\d+)?(?![\w$]))
      | (?P<word>[\w$]+)
      | (?P<sign><>|[<>!=]=|\|\||<<|>>|->>?|.)""",
    re.X | re.S,
)


def words(text: str) -> frozenset[str]:
    """The words of a text, for tables of keywords."""
    return frozenset(text.split())


SET_OPERATIONS = ("union", "intersect", "except")


class Token(NamedTuple):
    """A piece of a query; joined, all pieces are the query."""

    kind: Kind
    text: str

    @property
    def key(self) -> str:
        """A word in lower case; '' for everything else."""
        return self.text.lower() if self.kind == "word" else ""

    @property
    def identifier(self) -> str:
        """A name or word without its quotes, in lower case; '' for everything else."""
        if self.kind == "word":
            return self.text.lower()
        return self.text[1:-1].replace('""', '"').lower() if self.kind == "name" else ""


def tokens(query: str) -> list[Token]:
    """Split a query into tokens, blanks and comments among them.

    Never fails: text that is not SQL becomes signs and words. Text beyond `MAX_LENGTH` is dropped.
    """
    return list(each_token(query))


def each_token(query: str) -> Iterator[Token]:
    """The tokens one by one, for a look at the first few."""
    return (Token._make((m.lastgroup, m[0])) for m in _TOKEN.finditer(query[:MAX_LENGTH]))


def meaningful(query: Iterable[Token]) -> list[Token]:
    """The tokens without blanks and comments."""
    return [t for t in query if t.kind not in ("space", "comment")]


def join(query: Iterable[Token]) -> str:
    """The text of tokens."""
    return "".join(t.text for t in query)


def outside_parentheses(query: Iterable[Token]) -> list[Token]:
    """The tokens that are in no parentheses."""
    out: list[Token] = []
    depth = 0
    for t in query:
        depth += t.text == "("
        if depth == 0:
            out.append(t)
        depth -= t.text == ")"
    return out


def unquoted(text: str) -> str:
    """The content of a literal or of a name in quotes."""
    return text[1:-1].replace(text[0] * 2, text[0])
