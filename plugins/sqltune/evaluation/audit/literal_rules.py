"""The literals of a question against those of its gold query: which one has no counterpart?"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

from sqltune.evaluation.audit.gold_literals import GoldLiterals, GoldNumber
from sqltune.evaluation.audit.moments import Date, Time, dates, times
from sqltune.evaluation.audit.numerals import Number, numbers
from sqltune.evaluation.audit.question_text import CODE, QuestionText, mentions, plain
from sqltune.sql.dialect_rules import YEAR
from sqltune.sql.queries import has_order_by
from sqltune.sql.tokens import tokens

_SAID_IN_WORDS = (0, 1)
"""Numbers that questions express by words: none, the largest, a."""
_TOP_TEN = 10
_YES_AND_NO = frozenset(["是", "否", "有", "无", "y", "n", "t", "f", "yes", "no", "true", "false"])
_DIGITS = str.maketrans("零一二三四五六七八九", "0123456789")
_CENTURIES = (1900, 2100)

_Moment = TypeVar("_Moment", Date, Time)


@dataclass(frozen=True)
class Literals:
    """The literals of a question and of its gold query.

    Attributes:
        question: what the question says.
        gold: what the query compares with.
        query: the query.
        names: the tables and columns of the schema, in lower case.
        values: texts of the question's database that the question contains.
    """

    question: QuestionText
    gold: GoldLiterals
    query: str
    names: frozenset[str]
    values: tuple[str, ...] = ()

    def not_in_question(self) -> list[str]:
        """Return the query's literals that the question does not contain."""
        return [
            *(f"{number.value:.15g}" for number in self.gold.numbers if not self._is_said(number)),
            *(str(date) for date in self._gold_dates if not _agrees(date, self.question.dates)),
            *(str(time) for time in self._gold_times if not _agrees(time, self.question.times)),
            *(text for text in self._names_compared if not self.question.mentions(text)),
        ]

    def not_in_gold(self) -> list[str]:
        """Return the question's literals that the query does not contain."""
        missing = [
            *(number.text for number in self.question.numbers if not self._is_compared(number)),
            *(str(date) for date in self.question.dates if not self._has_date(date)),
            *(str(time) for time in self.question.times if not self._has_time(time)),
            *(name for name in self.question.quoted if not self._has_name(name)),
            *self._codes_not_in_gold(),
            *(value for value in self.values if not self._has_value(value)),
        ]
        return list(dict.fromkeys(missing))

    @cached_property
    def _texts(self) -> tuple[str, ...]:
        return tuple(plain(text.strip("%_")) for text in self.gold.texts)

    @cached_property
    def _names_compared(self) -> list[str]:
        return [t for t in self._texts if not (dates(t) or times(t) or t in _YES_AND_NO)]

    @cached_property
    def _gold_dates(self) -> list[Date]:
        return [*(d for _, d in self.gold.unquoted_dates), *(d for t in self._texts for d in dates(t))]

    @cached_property
    def _gold_times(self) -> list[Time]:
        return [time for text in self._texts for time in times(text)]

    @cached_property
    def _gold_values(self) -> frozenset[float]:
        """Every number that the query contains: as a literal, in a text, or in a name such as 2016届人数."""
        used = [token.identifier for token in tokens(self.query) if token.identifier]
        in_texts = (value for text in [*self._texts, *used] for n in numbers(text) for value in n.values)
        return frozenset(in_texts) | {value for n in self.gold.numbers for value in n.values}

    @cached_property
    def _moment_values(self) -> list[float]:
        """The parts of the question's dates and times: a query may compare with the year alone."""
        said: list[float] = []
        for date in self.question.dates:
            said += [date.year, date.month, date.day or 0, float(f"{date.year}.{date.month}")]
        for time in self.question.times:
            said += [time.hour, time.minute, time.as_decimal]
        return said

    def _is_said(self, number: GoldNumber) -> bool:
        if number.value in _SAID_IN_WORDS:
            return True
        if number.use == "current_year" and number.value == float(YEAR):
            return True
        if number.use == "factor" and math.log10(number.value).is_integer():
            return True
        return (
            _has(number.values, self.question.values)
            or _has([number.value], self._moment_values)
            or _has(_without_century(number.value), self.question.values)
        )

    def _is_compared(self, number: Number) -> bool:
        if not number.counts or number.values & set(_SAID_IN_WORDS):
            return True
        years = (year for value in self._gold_values for year in _without_century(value))
        moments = (part for d in self._gold_dates for part in (d.year, d.month, d.day or 0))
        return (
            _has(number.values, self._gold_values)
            or _has(number.values, years)
            or _has(number.values, moments)
            or _has(number.values, (time.hour for time in self._gold_times))
            or (("点" in number.text) and bool(self._gold_times))
            or self._is_part_of_a_name(number)
            or self._is_a_list(number)
        )

    def _is_a_list(self, number: Number) -> bool:
        """Whether 前十 may be a table's rows as they are, such as those of the ten fastest animals."""
        return _TOP_TEN in number.values and not has_order_by(self.query)

    def _is_part_of_a_name(self, number: Number) -> bool:
        """Whether a number belongs to a name of the schema that the question spells in another way."""
        said = self.question.text.translate(_DIGITS)
        pieces = (said[max(0, number.start - 1) : number.end], said[number.start : number.end + 1])
        length = number.end - number.start
        names = [name.translate(_DIGITS) for name in self.names]
        if any(len(p) > length and not p[-1].isspace() and _in_any(p, names) for p in pieces):
            return True
        return any(len(text) > 1 and _in_any(text, self.names) for text in map("{:g}".format, number.values))

    def _has_date(self, date: Date) -> bool:
        return _agrees(date, self._gold_dates) or _has(
            [float(f"{date.year}.{date.month}")], self._gold_values
        )

    def _has_time(self, time: Time) -> bool:
        return _agrees(time, self._gold_times) or _has([time.as_decimal], self._gold_values)

    def _has_name(self, name: str) -> bool:
        return _in_any(name, self.names) or any(mentions(name, t) or mentions(t, name) for t in self._texts)

    def _codes_not_in_gold(self) -> Iterator[str]:
        """Codes that the query does not compare with, though it compares with others of the kind."""
        if any(CODE.fullmatch(text) for text in self._texts):
            yield from (c for c in self.question.codes if not any(c in t or t in c for t in self._texts))

    def _has_value(self, value: str) -> bool:
        name = plain(value)
        return _in_any(name, self.names) or any(t and (name in t or t in name) for t in self._texts)


def _has(values: Iterable[float], others: Iterable[float]) -> bool:
    """Whether two collections share a number."""
    found = list(others)
    return any(math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-12) for a in values for b in found)


def _agrees(moment: _Moment, others: Sequence[_Moment]) -> bool:
    return any(moment.agrees(other) for other in others)


def _without_century(year: float) -> list[float]:
    """The last two digits of a year, as in 15年; nothing for another number."""
    return [year % 100] if _CENTURIES[0] <= year < _CENTURIES[1] else []


def _in_any(piece: str, names: Collection[str]) -> bool:
    return any(piece in name for name in names)
