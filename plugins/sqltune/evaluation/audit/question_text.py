"""A question's text as the audit reads it: its numbers, dates and times, and the names that it quotes."""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Self

from sqltune.evaluation.audit.moments import Date, Time, dates, times
from sqltune.evaluation.audit.numerals import Number, numbers

# Bounded: questions may be long and hostile.
_QUOTED = re.compile(
    r"《([^》]{1,80})》|“([^”]{1,80})”|「([^」]{1,80})」|\"([^\"]{1,80})\"|(?<![\w'])'([^']{1,80})'(?!\w)"
)
CODE = re.compile(r"[a-z][a-z0-9]{0,30}_[a-z0-9_.]{0,60}\d", re.A)
"""An identifier such as item_book.2_13_161."""
_SPACES = re.compile(r"\s+")
_PUNCTUATION = re.compile(r"[\W_]")
_LATIN_WORD = re.compile(r"[a-z]+", re.A)
_MASK = "\0"

_SHORTEST_WORD = 3
"""Letters from which a Latin word can be looked for; shorter ones are codes, such as F for female."""
_LONGEST_WORD = 40
_SIMILAR = 0.6
"""How similar two Latin words are that mean the same: French and France."""
_PAIR = 2
"""Characters of the shortest Chinese name and of an abbreviation."""


def plain(text: str) -> str:
    """A text in one spelling: ASCII digits and punctuation, lower case, single blanks."""
    return _SPACES.sub(" ", unicodedata.normalize("NFKC", text)).strip().lower()


@dataclass(frozen=True)
class QuestionText:
    """What the text of a question says literally.

    Attributes:
        text: the text in plain spelling.
        numbers: its numbers; one such as 9点3 is among its times, too.
        dates: its dates.
        times: its times of day.
        quoted: what it puts in quotes.
        codes: identifiers such as item_book.2_13_161.
    """

    text: str
    numbers: tuple[Number, ...]
    dates: tuple[Date, ...]
    times: tuple[Time, ...]
    quoted: tuple[str, ...]
    codes: tuple[str, ...]

    @classmethod
    def read(cls, question: str, names: Iterable[str]) -> Self:
        """Read a question.

        Args:
            question: its text.
            names: names in plain spelling whose digits are no numbers: tables, columns, compared values.
        """
        text = plain(question)
        quoted = tuple(next(filter(None, m.groups())).strip() for m in _QUOTED.finditer(text))
        codes = tuple(m[0] for m in CODE.finditer(text))
        masked = masked_names(text, [*names, *quoted, *codes])
        found_dates = dates(masked)
        masked = _without(masked, found_dates)
        found_times = times(masked)
        # 9点3 may be a time or a decimal: it stays a number.
        decimals = [n for n in numbers(masked) if "点" in n.text]
        counted = [*numbers(_without(masked, found_times)), *decimals]
        return cls(
            text=text,
            numbers=tuple(dict.fromkeys(counted)),
            dates=tuple(found_dates),
            times=tuple(found_times),
            quoted=quoted,
            codes=codes,
        )

    @property
    def values(self) -> frozenset[float]:
        """Every value that one of its numbers may stand for."""
        return frozenset(value for number in self.numbers for value in number.values)

    def mentions(self, name: str) -> bool:
        """Whether the question may mean a name, in plain spelling; a generous guess, by its characters."""
        return mentions(self.text, name)


def masked_names(text: str, names: Iterable[str]) -> str:
    """The text with every name in it replaced by as many characters that mean nothing, the longest first."""
    for name in sorted({name for name in names if name}, key=len, reverse=True):
        text = text.replace(name, _MASK * len(name))
    return text


def _without(text: str, spans: Sequence[Date | Time]) -> str:
    for span in spans:
        text = text[: span.start] + _MASK * (span.end - span.start) + text[span.end :]
    return text


def mentions(text: str, name: str) -> bool:
    """Whether a text may mean a name: by itself, shortened, inflected, or with most of its characters."""
    compact, short = text.replace(" ", ""), _PUNCTUATION.sub("", name)
    if not short or name.replace(" ", "") in compact or short in compact:
        return True
    if name.isascii() and _LATIN_WORD.search(name):
        return _mentions_latin(text, name)
    if any(short[i : i + _PAIR] in compact for i in range(len(short) - 1)):
        return True
    found = numbers(short)
    if found and all(n.values & {v for m in numbers(compact) for v in m.values} for n in found):
        return True
    if len(short) <= _PAIR:
        # 宋朝 is 宋代 too; 河北 is not 湖北.
        return short[0] in compact
    return 2 * sum(c in compact for c in short) >= len(short) or _is_abbreviated(compact, short)


def _mentions_latin(text: str, name: str) -> bool:
    words = [word for word in _LATIN_WORD.findall(name) if len(word) > _SHORTEST_WORD]
    said = [word for word in _LATIN_WORD.findall(text) if len(word) <= _LONGEST_WORD]
    return not words or any(
        word in other or SequenceMatcher(None, word, other).ratio() >= _SIMILAR
        for word in words
        for other in said
    )


def _is_abbreviated(text: str, name: str) -> bool:
    """Whether the text has the first and another character of a name side by side: 北电 is 北京电影学院."""
    return any(a == name[0] and b in name[1:] for a, b in itertools.pairwise(text))
