"""Dates and times of day in a text."""

from __future__ import annotations

import pytest

from sqltune.evaluation.audit.moments import dates, times


@pytest.mark.parametrize(
    ("text", "date"),
    [
        ("2014年10月1日之前", "2014-10-01"),
        ("2014-10-01", "2014-10-01"),
        ("2014/10/1", "2014-10-01"),
        ("二〇一四年十月一日", "2014-10-01"),
        ("1995年十月二十四之前", "1995-10-24"),
        ("2015年五一", "2015-05-01"),
        ("2014年10月", "2014-10"),
    ],
)
def test_date(text, date):
    assert [str(d) for d in dates(text)] == [date]


@pytest.mark.parametrize("text", ["2018年一共", "在2014年和2018年", "2014-2015赛季", "2014年", "2014-13-01"])
def test_text_without_a_date(text):
    assert dates(text) == []


def test_dates_agree_as_far_as_both_say():
    (day,), (month,), (other,) = dates("2014年10月1日"), dates("2014-10"), dates("2014-10-02")
    assert day.agrees(month)
    assert not day.agrees(other)


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("22:00之前", "22:00"),
        ("13:30:00", "13:30"),
        ("22点及之后", "22:00"),
        ("6点40之后", "6:40"),
        ("10点半", "10:30"),
        ("下午三点四十之前", "3:40"),
        ("上午九点之前", "9:00"),
    ],
)
def test_time(text, time):
    assert [str(t) for t in times(text)] == [time]


@pytest.mark.parametrize("text", ["三点一侧", "快一点", "9点3的书", "百分之4点25", "1:2:3:4"])
def test_text_without_a_time(text):
    assert times(text) == []


def test_ten_in_the_evening_agrees_with_22():
    assert times("晚上10点")[0].agrees(times("22:00")[0])
