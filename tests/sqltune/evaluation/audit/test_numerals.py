"""Numbers in the text of a question."""

from __future__ import annotations

import pytest

from sqltune.evaluation.audit.numerals import numbers


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("超过56岁", 56),
        ("1,234 people", 1234),
        ("三个国家", 3),
        ("两名球员", 2),
        ("前三", 3),
        ("十五岁", 15),
        ("二百零五个", 205),
        ("一百个", 100),
        ("一千万", 10_000_000),
        ("3亿", 300_000_000),
        ("2.5亿", 250_000_000),
        ("1万五千", 15_000),
        ("五万八", 58_000),
        ("2万1", 21_000),
        ("2亿1千万", 210_000_000),
        ("一个亿", 100_000_000),
        ("二〇一五年", 2015),
        ("三点五分", 3.5),
        ("9点3分", 9.3),
        ("44%", 0.44),
        ("百分之三十", 0.3),
        ("三成", 0.3),
        ("不少于一半", 0.5),
        ("一米九", 190),
        ("1米91", 1.91),
        ("8k", 8000),
        ("1w", 10_000),
        ("周六", 6),
        ("9月5号", 9.5),
        ("three cities", 3),
        ("2.5 million", 2_500_000),
        ("twice", 2),
    ],
)
def test_number_may_stand_for_its_value(text, value):
    assert any(value == pytest.approx(v) for n in numbers(text) for v in n.values)


@pytest.mark.parametrize(
    ("text", "value"), [("3千万", 3000), ("44%", 44), ("5亿", 5), ("50公里", 50_000), ("50g", 0.05)]
)
def test_number_may_be_meant_in_the_unit_of_a_column(text, value):
    assert any(value == pytest.approx(v) for v in numbers(text)[0].values)


@pytest.mark.parametrize(
    "text", ["一家公司", "三亚", "五粮液", "周六", "双十一", "第一二产业", "one of them"]
)
def test_a_numeral_that_may_be_a_word_does_not_count(text):
    assert not any(n.counts for n in numbers(text))


@pytest.mark.parametrize("text", ["百度和万科", "nothing", "成千上万"])
def test_units_alone_are_no_numbers(text):
    assert numbers(text) == []


def test_numbers_come_in_their_order_with_their_place():
    found = numbers("a3b十2")
    assert [(n.text, n.start, n.end) for n in found] == [("3", 1, 2), ("十2", 3, 5)]


def test_two_years_side_by_side_are_two_numbers():
    assert [n.text for n in numbers("8000,2012届")] == ["8000", "2012"]


@pytest.mark.parametrize("text", ["十" * 50_000, "百分之" * 20_000, "9" * 100_000, "1," * 20_000])
def test_hostile_text_is_read_in_time(text):
    assert all(len(n.text) <= 40 for n in numbers(text))
