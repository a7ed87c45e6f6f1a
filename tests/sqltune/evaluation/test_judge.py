"""Execution match of one pair, on synthetic databases."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from sqltune.evaluation.judge import Judge, Match, Pair

CONTEXT = "CREATE TABLE t (id INTEGER, name VARCHAR, age INTEGER)"


def judge(gold: str, predicted: str, context: str = CONTEXT) -> Match:
    return Judge().judge(Pair(gold, predicted, context=context))


@pytest.mark.parametrize(
    ("gold", "predicted", "matched"),
    [
        ("SELECT name FROM t WHERE age > 56", "SELECT name FROM t WHERE age >= 56", False),
        ("SELECT name FROM t WHERE age > 56", "SELECT x.name FROM t AS x WHERE 56 < age", True),
        ("SELECT min(age) FROM t", "SELECT max(age) FROM t", False),
        ("SELECT name FROM t ORDER BY age DESC LIMIT 1", "SELECT name FROM t ORDER BY age LIMIT 1", False),
        ("SELECT count(*) FROM t WHERE name = 'a'", "SELECT count(*) FROM t WHERE name = 'b'", False),
    ],
)
def test_synthetic_databases_tell_queries_apart(gold, predicted, matched):
    assert judge(gold, predicted).matched is matched


AMBIGUOUS = "SELECT name FROM t ORDER BY 1 + 1 LIMIT 1"


def test_gold_query_that_is_ambiguous_on_every_copy_does_not_match_anything():
    assert not judge(AMBIGUOUS, "SELECT 'none of them'").matched


def test_gold_query_that_is_ambiguous_on_every_copy_matches_itself():
    assert judge(AMBIGUOUS, AMBIGUOUS).matched


CHANNELS = (
    "CREATE TABLE channel (id INTEGER PRIMARY KEY, name VARCHAR, country VARCHAR); "
    "CREATE TABLE cartoon (id INTEGER PRIMARY KEY, author VARCHAR, channel INTEGER REFERENCES channel (id))"
)
COUNTRIES_WITHOUT_A = (
    "SELECT country FROM channel EXCEPT SELECT T1.country FROM channel AS T1 "
    "JOIN cartoon AS T2 ON T1.id = T2.channel WHERE T2.author = 'A'"
)
"""Countries without a cartoon by A. Two channels of one country show the difference."""


def test_except_differs_from_not_in_over_the_key():
    predicted = "SELECT country FROM channel WHERE id NOT IN (SELECT channel FROM cartoon WHERE author = 'A')"
    assert not judge(COUNTRIES_WITHOUT_A, predicted, CHANNELS).matched


def test_except_equals_not_in_over_the_same_column():
    predicted = (
        "SELECT country FROM channel WHERE country NOT IN (SELECT a.country FROM channel a "
        "JOIN cartoon b ON a.id = b.channel WHERE b.author = 'A')"
    )
    assert judge(COUNTRIES_WITHOUT_A, predicted, CHANNELS).matched


LARGE_LITERALS = [
    "1e999",
    "-1e999",
    "9" * 20,
    "9223372036854775808",
    "-9223372036854775809",
    "1e300",
    "9" * 400,
    "0x7fffffffffffffff",
    f"'{'9' * 400}'",
    "'1e999'",
    "'nan'",
    "1e18",
]
TYPES = "CREATE TABLE t (a INTEGER, b TEXT, c DATE)"


@pytest.mark.parametrize("column", ["a", "b", "c"])
@pytest.mark.parametrize("literal", LARGE_LITERALS)
def test_large_literal_in_a_prediction_is_a_mismatch(column, literal):
    """A number beyond SQLite's integers once ended the scorer, and with it the run."""
    result = judge("SELECT a FROM t WHERE b = 'x'", f"SELECT a FROM t WHERE {column} = {literal}", TYPES)
    assert result.outcome == "mismatch", result


@pytest.mark.parametrize("column", ["a", "b", "c"])
@pytest.mark.parametrize("literal", LARGE_LITERALS)
def test_large_literal_in_both_queries_is_a_match(column, literal):
    query = f"SELECT a FROM t WHERE {column} <> {literal}"
    assert judge(query, query, TYPES).outcome == "match"


IDENTITY_CARDS = "CREATE TABLE t (a INTEGER, number INTEGER, text_number TEXT)"


@pytest.mark.parametrize("condition", ["number = 110101199003071233", "text_number = '110101199003071233'"])
def test_long_number_is_generated_to_the_last_digit(condition):
    """Such as that of a Chinese identity card."""
    query = f"SELECT a FROM t WHERE {condition}"
    result = judge(query, query, IDENTITY_CARDS)
    assert result.matched
    assert not result.vacuous
    assert not judge(query, query.replace("1233", "1234"), IDENTITY_CARDS).matched


def test_unforeseen_error_costs_one_question(monkeypatch):
    monkeypatch.setattr("sqltune.evaluation.judge.build", lambda *_: 1 / 0)
    result = judge("SELECT name FROM t", "SELECT name FROM t")
    assert (result.outcome, result.failure_class) == ("invalid", "other")
    assert "ZeroDivisionError" in result.reason


def test_a_gold_query_that_does_not_run_is_not_the_predictions_fault():
    assert judge("SELECT oops FROM t", "SELECT name FROM t").outcome == "gold_invalid"


def test_a_context_that_is_not_sql_is_not_the_predictions_fault():
    result = judge("SELECT name FROM t", "SELECT name FROM t", "CREATE TABLE")
    assert result.outcome == "gold_invalid"
    assert "can't be opened or built" in result.reason


@pytest.fixture
def tied_file(tmp_path) -> str:
    """A database file on which two of three rows tie."""
    file = tmp_path / "t.sqlite"
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("CREATE TABLE t (name TEXT, age INTEGER)")
        connection.executemany("INSERT INTO t VALUES (?, ?)", [("a", 1), ("b", 1), ("c", 2)])
    return str(file)


@pytest.mark.parametrize(
    ("gold", "tied"),
    [
        ("SELECT name FROM t ORDER BY age LIMIT 1", True),
        ("SELECT name FROM t ORDER BY age LIMIT 2", False),
        ("SELECT age FROM t ORDER BY age LIMIT 1", False),
        ("SELECT name FROM t ORDER BY age", False),
        ("SELECT name FROM t WHERE age IN (SELECT age FROM t ORDER BY age LIMIT 1)", False),
        ("SELECT count(*) FROM (SELECT name FROM t ORDER BY age LIMIT 1) WHERE name = 'a'", True),
    ],
)
def test_ties_that_change_the_result_of_a_file_are_found(tied_file, gold, tied):
    assert Judge().judge(Pair(gold, gold, database=tied_file, check_ties=True)).tied is tied


def test_ties_are_looked_for_only_on_request(tied_file):
    gold = "SELECT name FROM t ORDER BY age LIMIT 1"
    assert not Judge().judge(Pair(gold, gold, database=tied_file)).tied


def test_ties_on_synthetic_databases_mean_nothing():
    gold = "SELECT name FROM t WHERE name IN (SELECT name FROM t ORDER BY 1 + 1 LIMIT 1)"
    assert not Judge().judge(Pair(gold, gold, CONTEXT, check_ties=True)).tied


def test_query_that_equals_itself_is_vacuous_only_without_rows_on_every_copy():
    assert judge("SELECT name FROM t WHERE 1 = 0", "SELECT name FROM t WHERE 1 = 0").vacuous
    assert not judge("SELECT name FROM t WHERE age > 5", "SELECT name FROM t WHERE age > 5").vacuous


def test_the_gold_query_in_another_spelling_is_a_strict_match():
    assert judge("SELECT DISTINCT name FROM t", "select distinct NAME from T ;") == Match(
        "match", strict=True
    )


def test_a_gold_query_that_does_not_run_is_not_the_fault_of_its_other_spelling():
    assert judge("SELECT nope FROM t", "select NOPE from T").outcome == "gold_invalid"


@pytest.mark.parametrize("end", [" /*", ";;", "; ;"])
def test_a_prediction_that_is_the_gold_query_but_for_its_end_must_run(end):
    assert judge("SELECT name FROM t", f"SELECT name FROM t{end}").outcome == "invalid"


def test_a_gold_query_whose_rows_are_random_matches_itself_in_another_spelling():
    assert judge("SELECT name FROM t ORDER BY random()", "select name  from t order by random()").matched


def test_a_second_statement_behind_the_gold_query_does_not_run():
    match = judge("SELECT name FROM t", "SELECT name FROM t; SELECT name FROM t")
    assert (match.outcome, match.failure_class) == ("invalid", "several_statements")
