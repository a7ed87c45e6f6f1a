"""The literals of a gold query."""

from __future__ import annotations

import pytest

from sqltune.evaluation.audit.gold_literals import gold_literals


def test_numbers_with_their_use():
    gold = "SELECT a FROM t WHERE b > 5 AND 2020 - c = 3 ORDER BY d * 100 LIMIT 7"
    assert [(n.value, n.use) for n in gold_literals(gold, {"a", "b", "c", "d", "t"}).numbers] == [
        (5, "value"),
        (2020, "current_year"),
        (3, "value"),
        (100, "factor"),
        (7, "limit"),
    ]


def test_offset_before_a_limit_belongs_to_it():
    numbers = gold_literals("SELECT a FROM t LIMIT 2, 3", {"a", "t"}).numbers
    assert [n.use for n in numbers] == ["limit", "limit"]


@pytest.mark.parametrize(
    ("comparison", "values"),
    [("> 4", {4, 5}), (">= 5", {4, 5}), ("< 4", {3, 4}), ("<= 3", {3, 4}), ("= 4", {4}), ("> 4.5", {4.5})],
)
def test_neighbour_that_means_the_same_is_accepted(comparison, values):
    (number,) = gold_literals(f"SELECT a FROM t WHERE a {comparison}", {"a", "t"}).numbers
    assert number.values == values


def test_sign_of_a_number_is_left_out():
    (number,) = gold_literals("SELECT a FROM t WHERE a > -5", {"a", "t"}).numbers
    assert (number.value, number.comparison) == (5, ">")


def test_double_quotes_are_text_where_they_name_nothing():
    gold = 'SELECT "a" FROM t AS "x" WHERE "a" = "France" AND b = \'it\'\'s\''
    assert gold_literals(gold, {"a", "b", "t"}).texts == ("France", "it's")


def test_date_without_quotes():
    literals = gold_literals("SELECT a FROM t WHERE a > 2010-01-31", {"a", "t"})
    assert [(text, str(date)) for text, date in literals.unquoted_dates] == [("2010-01-31", "2010-01-31")]
    assert literals.numbers == ()


@pytest.mark.parametrize(
    "condition", ["a > 2010 - 1 - 31", "a > 2010-13-01", "a > '2010-01-31'", "a-1-2 > 3"]
)
def test_no_date_without_quotes(condition):
    assert gold_literals(f"SELECT a FROM t WHERE {condition}", {"a", "t"}).unquoted_dates == ()
