"""Literals of a question and of its gold query that have no counterpart."""

from __future__ import annotations

import pytest

from sqltune.evaluation.audit.gold_audit import literals_of
from tests.sqltune.evaluation.audit.builders import question

ALL = "SELECT name FROM city"


def missing(text: str, gold: str) -> tuple[list[str], list[str]]:
    """What is missing in the question, and what in the query."""
    literals = literals_of(question(text, gold))
    return literals.not_in_question(), literals.not_in_gold()


@pytest.mark.parametrize(
    ("text", "gold"),
    [
        ("GDP超过3亿的城市", f"{ALL} WHERE gdp > 300000000"),
        ("GDP超过3000万的城市", f"{ALL} WHERE gdp > 3000"),
        ("GDP占比不低于44%的城市", f"{ALL} WHERE gdp >= 0.44"),
        ("GDP最高的三个城市", f"{ALL} ORDER BY gdp DESC LIMIT 3"),
        ("GDP最高的城市", f"{ALL} ORDER BY gdp DESC LIMIT 1"),
        ("哪些省有至少5个城市", "SELECT province FROM city GROUP BY province HAVING count(*) > 4"),
        ("成立不到10年的城市", f"{ALL} WHERE 2020 - founded < 10"),
        ("2014年10月1日之后成立的城市", f"{ALL} WHERE founded > '2014-10-01'"),
        ("2014年10月1日之后成立的城市", f"{ALL} WHERE founded > 2014-10-01"),
        ("2014年之后成立的城市", f"{ALL} WHERE founded > 2014"),
        ("14年之后成立的城市", f"{ALL} WHERE founded > 2014"),
        ("晚上10点之前", f"{ALL} WHERE founded < '22:00'"),
        ("面积超过35000平方千米的城市", f"{ALL} WHERE gdp > 35000000000"),
        ("GDP不少于一半的城市", f"{ALL} WHERE gdp >= 0.5"),
        ("四川省的城市", f"{ALL} WHERE province = '四川'"),
        ("有哪些不是省会", f"{ALL} WHERE province = '否'"),
        ("第二高的城市", f"{ALL} ORDER BY gdp DESC LIMIT 1, 1"),
        ("Which city is called 'St. John'?", f"{ALL} WHERE name = 'St. John'"),
        ("Which cities have 1 river and 0 lakes?", ALL),
        ("双十一和五一的城市", ALL),
        ("在前十榜单中的城市", ALL),
        ("What are the 3 largest cities?", f"{ALL} ORDER BY gdp DESC LIMIT 3"),
    ],
)
def test_literals_that_correspond(text, gold):
    assert missing(text, gold) == ([], [])


@pytest.mark.parametrize(
    ("text", "gold", "in_question", "in_gold"),
    [
        ("GDP排名前3的城市", f"{ALL} ORDER BY gdp DESC LIMIT 1", [], ["3"]),
        ("GDP最高的城市", f"{ALL} ORDER BY gdp DESC LIMIT 3", ["3"], []),
        ("GDP排名前十的城市", f"{ALL} ORDER BY gdp DESC LIMIT 3", ["3"], ["十"]),
        ("GDP超过200万的城市", f"{ALL} WHERE gdp > 20000000", ["20000000"], ["200万"]),
        ("GDP低于101的城市", f"{ALL} WHERE gdp < 100", ["100"], ["101"]),
        ("占比超过0.3", f"{ALL} WHERE gdp > 0.003", ["0.003"], ["0.3"]),
        ("2014年1月1日成立", f"{ALL} WHERE founded = '2014-01-11'", ["2014-01-11"], ["2014-01-01"]),
        ("22:00成立", f"{ALL} WHERE founded = '21:00'", ["21:00"], ["22:00"]),
        ("河北省的城市", f"{ALL} WHERE province = '湖北'", ["湖北"], []),
        ("“天府”在哪", f"{ALL} WHERE province = '山东'", ["山东"], ["天府"]),
        (
            "城市city_1_2和city_1_3",
            f"{ALL} WHERE id = 'city_1_2' OR id = 'city_1_4'",
            [],
            ["city_1_3"],
        ),
        ("Which cities are in Spain?", f"{ALL} WHERE province = 'Germany'", ["germany"], []),
        ("Which three cities are the largest?", f"{ALL} ORDER BY gdp DESC LIMIT 1", [], ["three"]),
    ],
)
def test_literals_without_a_counterpart(text, gold, in_question, in_gold):
    assert missing(text, gold) == (in_question, in_gold)


@pytest.mark.parametrize("text", ["哪些学校16届的人数最多", "2016届人数最多的学校", "六月最热的城市"])
def test_digits_that_belong_to_a_column_are_no_literals(text):
    context = "CREATE TABLE school (name VARCHAR, 2016届人数 NUMBER, 6月气温 NUMBER)"
    gold = 'SELECT name FROM school ORDER BY "2016届人数" DESC LIMIT 1'
    assert literals_of(question(text, gold, context=context)).not_in_gold() == []


def test_context_that_cannot_be_read_leaves_the_literals():
    literals = literals_of(question("超过5的", f"{ALL} WHERE gdp > 6", context="CREATE TABEL"))
    assert (literals.not_in_question(), literals.not_in_gold()) == (["6"], ["5"])
