"""Dates and times of day in a text, of a question or of a query's literal."""

from __future__ import annotations

import re
from dataclasses import dataclass

from sqltune.evaluation.audit.numerals import numeral

_CHINESE = r"[一二三四五六七八九十]{1,3}"
_DATE = re.compile(
    rf"(?<!\d)(?P<year>\d{{4}}|[零〇一二三四五六七八九]{{4}})(?:年|月(?=\d)|\s?[-/.]\s?(?=\d))\s?"
    rf"(?:(?P<holiday>五一)|(?P<month>\d{{1,2}}(?!\d)|{_CHINESE}(?=月))"
    rf"(?:(?:月|\s?[-/.]\s?(?=\d))(?P<day>\d{{1,2}}(?!\d)|{_CHINESE})[日号]?|月|(?![年月届])))"
)
_TIME = re.compile(
    rf"(?<![\d:之])(?:(?P<hour>\d{{1,2}})\s?:\s?(?P<minute>\d{{1,2}})(?::\d{{2}})?(?![\d:])"
    rf"|(?P<spoken_hour>\d{{1,2}}|{_CHINESE}(?=点(?:[十二三四五]?十|半|[之以前后到及的])))"
    rf"点(?P<spoken_minute>半|\d{{2}}(?!\d)|[二三四五]?十{_CHINESE[:-5]}?|(?!\d)))"
)


@dataclass(frozen=True)
class Date:
    """A date, or a month."""

    year: int
    month: int
    day: int | None = None
    start: int = 0
    end: int = 0

    def __str__(self) -> str:
        return f"{self.year}-{self.month:02d}" + (f"-{self.day:02d}" if self.day else "")

    def agrees(self, other: Date) -> bool:
        """Whether two dates are the same as far as both say."""
        same_day = self.day is None or other.day is None or self.day == other.day
        return (self.year, self.month) == (other.year, other.month) and same_day


@dataclass(frozen=True)
class Time:
    """A time of day."""

    hour: int
    minute: int
    start: int = 0
    end: int = 0

    def __str__(self) -> str:
        return f"{self.hour}:{self.minute:02d}"

    @property
    def as_decimal(self) -> float:
        """The number that a text may mean instead: 4点25 is 4.25, too."""
        return float(f"{self.hour}.{self.minute:02d}")

    def agrees(self, other: Time) -> bool:
        """Whether two times are the same; 10 in the evening is 22."""
        return self.hour % 12 == other.hour % 12 and self.minute == other.minute


def dates(text: str) -> list[Date]:
    """The dates in a text: 2014年10月1日, 2014-10-01, 二〇一四年十月."""
    found = [_date(m) for m in _DATE.finditer(text)]
    return [d for d in found if 1 <= d.month <= 12 and 1 <= (d.day or 1) <= 31]


def _date(match: re.Match[str]) -> Date:
    year = int(numeral(match["year"]))
    if match["holiday"]:
        return Date(year, 5, 1, match.start(), match.end())
    day = int(numeral(match["day"])) if match["day"] else None
    return Date(year, int(numeral(match["month"])), day, match.start(), match.end())


def times(text: str) -> list[Time]:
    """The times of day in a text: 22:00, 22点, 下午三点四十, 10点半."""
    found = [_time(m) for m in _TIME.finditer(text)]
    return [t for t in found if t.hour <= 24 and t.minute < 60]


def _time(match: re.Match[str]) -> Time:
    hour = match["hour"] or match["spoken_hour"]
    minute = match["minute"] or match["spoken_minute"] or "0"
    minutes = 30 if minute == "半" else int(numeral(minute))
    return Time(int(numeral(hour)), minutes, match.start(), match.end())
