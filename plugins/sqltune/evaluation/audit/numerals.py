"""Numbers in a text: digits, Chinese numerals, English words; with percent and units of measure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_DIGITS = {c: i for i, c in enumerate("零一二三四五六七八九")} | {"〇": 0, "两": 2, "俩": 2}
_UNITS = {"十": 10, "百": 100, "千": 1000, "万": 10**4, "亿": 10**8}
_LARGE_UNIT = 10**4
_CLASSIFIERS = set(
    "个家位名种部本首支届次场年月日号天岁人所条座辆台只件篇集期季款项类层站枚块元米公吨倍分秒级颗星区省市国队周轮"
    "档版套户口员张间艘架头匹棵朵片段章节页册组批班课门院校县乡镇村对双瓶杯斤克升亩顷里尺寸度角股把处列"
)
"""What a single Chinese digit stands before where it counts: 三个, but not 三亚."""
_RANKS = set("前后")
"""What it may stand behind instead: 前三."""
_COUNTED = ("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
_ENGLISH = {word: float(value) for value, word in enumerate(_COUNTED, 2)} | {
    "one": 1.0,
    "once": 1.0,
    "twice": 2.0,
    "twenty": 20.0,
    "thirty": 30.0,
    "fifty": 50.0,
    "hundred": 100.0,
}
_ARTICLES = ("一", "one", "once")
_SCALES = {"thousand": 1e3, "million": 1e6, "billion": 1e9, "k": 1e3, "w": 1e4}
_WEEKDAYS = {c: float(i) for i, c in enumerate("一二三四五六日", 1)} | {"天": 7.0}

_ARABIC = r"\d{1,3}(?:,\d{3})+(?!\d)(?:\.\d+)?|\d+(?:\.\d+)?"
_CHINESE = r"[零〇一二两俩三四五六七八九]+"
# One unit at a time, so that there is one way only to match a text.
_MIXED = rf"(?:{_ARABIC}|{_CHINESE}|(?=十))(?:[十百千万亿](?:{_ARABIC}|{_CHINESE})?)*"
_POINT = r"(?:点[零〇一二三四五六七八九\d]+)?"
_NUMBER = re.compile(
    rf"""(?P<half>一半|半数|\bhalf\b)
      | (?:周|星期|礼拜)(?P<weekday>[一二三四五六日天])
      | 百分之(?P<of_hundred>{_MIXED}{_POINT})
      | (?P<month>\d{{1,2}})月(?P<day>\d{{1,2}})[日号]
      | (?P<meters>{_MIXED})米(?P<part>[\d一二三四五六七八九]{{1,2}})(?![\d十百千米])
      | (?P<mixed>{_MIXED}{_POINT})
        \s?(?P<sign>%|percent\b|(?:thousand|million|billion)\b|[kw](?![a-z])[万亿]?|成(?!立|员|绩|本|为)|个[万亿])?
      | \b(?P<english>{"|".join(_ENGLISH)})\b""",
    re.X | re.I,
)
LONGEST = 40
"""Characters of a number that a person writes; questions may be hostile."""
_PART = re.compile(rf"{_ARABIC}|.")
_MEASURE = re.compile(
    r"\s?(平方|立方)?(千米|公里|千克|公斤|毫米|厘米|毫升|[克米吨升斤亩]|km|kg|cm|mm|ml|[gmlt](?![a-z]))", re.I
)
_POWERS = (1e-6, 1e-3, 1e-2, 1e2, 1e3, 1e6)
"""Factors between the unit of a question and the unit of a column."""


@dataclass(frozen=True)
class Number:
    """A number in a text."""

    text: str
    values: frozenset[float]
    """What it may stand for: 44% is 0.44 or 44, and 3千万 30,000,000, or 3,000 in a column of 万."""
    start: int
    end: int
    counts: bool = True
    """Whether it surely is a number: 一 is mostly an article, and 三 a part of the name 三亚."""


def numbers(text: str) -> list[Number]:
    """The numbers in a text, in their order.

    Args:
        text: the text, with ASCII digits.
    """
    return list(_numbers(text))


def _numbers(text: str) -> Iterator[Number]:
    for match in _NUMBER.finditer(text):
        if len(match[0]) > LONGEST:
            continue
        values = _values(match)
        if _MEASURE.match(text, match.end()):
            values |= {value * power for value in values for power in _POWERS}
        yield Number(match[0].strip(), frozenset(values), match.start(), match.end(), _counts(match, text))


def _values(match: re.Match[str]) -> set[float]:
    if match["half"]:
        return {0.5, 2.0, 50.0}
    if match["weekday"]:
        return {_WEEKDAYS[match["weekday"]]}
    if match["of_hundred"]:
        return {numeral(match["of_hundred"]), numeral(match["of_hundred"]) / 100}
    if match["month"]:
        return {float(f"{match['month']}.{match['day']}")}
    if match["meters"]:
        value = numeral(match["meters"]) + numeral(match["part"]) / 10 ** len(match["part"])
        return {value, round(100 * value, 2)}
    if match["english"]:
        return {_ENGLISH[match["english"].lower()]}
    return _mixed_values(match["mixed"], match["sign"] or "")


def _counts(match: re.Match[str], text: str) -> bool:
    """Whether a number surely is one."""
    found = match["mixed"] or match["english"]
    if match["weekday"] or found in _ARTICLES:
        return False
    before, after = text[max(0, match.start() - 1) : match.start()], text[match.end() : match.end() + 1]
    if before == "双":
        # 双十一 is a holiday.
        return False
    if not match["mixed"] or match["sign"] or found.isascii():
        return True
    if len(found) > 1:
        # 第一二产业 is two of them; 二〇一五 and 二百 are numbers.
        return not (len(found) == 2 and all(c in _DIGITS for c in found))
    return after in _CLASSIFIERS or before in _RANKS


def _mixed_values(found: str, sign: str) -> set[float]:
    sign = sign.lower()
    if sign[:1] in ("k", "w", "个"):
        scale = _SCALES.get(sign[0], 1)
        return {scale * value for value in _with_and_without_units(found + sign[1:])}
    values = _with_and_without_units(found)
    if sign in ("%", "percent"):
        return values | {value / 100 for value in values}
    if sign == "成":
        return {factor * value for value in values for factor in (0.1, 10)}
    return values | {value * _SCALES[sign] for value in values if sign in _SCALES}


def _with_and_without_units(found: str) -> set[float]:
    """The values of a numeral, and of what is left without the units at its end."""
    values = {numeral(found)}
    if len(found) > 2 and found[-1] not in _UNITS and found[-2] in _UNITS:
        # 五万八 is 58,000.
        values.add(numeral(found[:-1]) + numeral(found[-1]) * _UNITS[found[-2]] / 10)
    while found[-1] in _UNITS and len(found) > 1:
        found = found[:-1]
        values.add(numeral(found))
    return values


def numeral(text: str) -> float:
    """The value of a numeral: 二百零五 is 205, 1万五千 is 15,000, 三点五 is 3.5, 二〇一五 is 2015."""
    text, _, decimals = text.partition("点")
    fraction = float("0." + "".join(str(_DIGITS.get(c, c)) for c in decimals)) if decimals else 0.0
    if len(text) > 1 and all(c in _DIGITS for c in text):
        return float("".join(str(_DIGITS[c]) for c in text)) + fraction
    total = section = digit = 0.0
    largest = 0
    for part in _PART.findall(text):
        if part not in _UNITS:
            digit = float(_DIGITS[part]) if part in _DIGITS else float(part.replace(",", ""))
        elif _UNITS[part] < _LARGE_UNIT:
            section += (digit or 1) * _UNITS[part]
            digit = 0
        elif _UNITS[part] >= largest:
            total = (total + section + digit) * _UNITS[part]
            section, digit, largest = 0, 0, _UNITS[part]
        else:
            total += (section + digit) * _UNITS[part]
            section = digit = 0
    return total + section + digit + fraction
