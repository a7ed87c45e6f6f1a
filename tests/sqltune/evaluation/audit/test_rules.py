"""Each rule of the gold audit by itself, and where it finds nothing."""

from __future__ import annotations

from typing import get_args

import pytest

from sqltune.evaluation.audit.agreement import models_agree
from sqltune.evaluation.audit.flags import Reason
from sqltune.evaluation.audit.gold_audit import literals_of
from sqltune.evaluation.audit.rules import (
    RULES,
    GoldFacts,
    can_be_satisfied,
    contradictory_golds,
    does_not_run,
    empty_everywhere,
    missing_comma,
    tie_at_limit,
    unquoted_date,
)
from sqltune.evaluation.judge import Match
from tests.sqltune.evaluation.audit.builders import question

MATCH = Match("match")
EMPTY = Match("match", vacuous=True)


def facts(
    gold: str = "SELECT name FROM city", on_rows: Match = MATCH, on_synthetic: Match | None = None, **more
):
    asked = question("Which cities?", gold)
    return GoldFacts(asked, on_rows, on_synthetic, literals_of(asked), **more)


def test_every_reason_is_the_name_of_a_rule():
    assert [rule.__name__ for rule in (*RULES, models_agree)] == list(get_args(Reason))


@pytest.mark.parametrize("rule", RULES)
def test_rule_finds_nothing_in_a_query_that_is_right(rule):
    assert rule(facts()) == ""


def test_query_that_does_not_run_is_flagged_with_the_error():
    assert does_not_run(facts(on_rows=Match("gold_invalid", "no such column: x"))) == "no such column: x"


def test_query_without_rows_on_either_database_is_flagged():
    assert empty_everywhere(facts(on_rows=EMPTY, on_synthetic=EMPTY))


@pytest.mark.parametrize("on_synthetic", [MATCH, None])
def test_query_with_rows_on_synthetic_databases_is_not_empty(on_synthetic):
    assert empty_everywhere(facts(on_rows=EMPTY, on_synthetic=on_synthetic)) == ""


@pytest.mark.parametrize(
    "gold",
    [
        "SELECT province FROM city GROUP BY province HAVING sum(gdp) > 8",
        "SELECT name FROM city WHERE gdp = (SELECT avg(gdp) FROM city)",
        "SELECT name FROM city WHERE gdp * 2 > 8",
        "SELECT name FROM city WHERE 2020 - founded > 8",
        "SELECT name FROM city INTERSECT SELECT province FROM city",
        "SELECT name FROM city WHERE founded > 618",
        "SELECT name FROM city WHERE founded < '15:40'",
        "SELECT * FROM (SELECT name FROM city ORDER BY gdp LIMIT 3) EXCEPT SELECT name FROM city",
    ],
)
def test_condition_that_synthetic_rows_meet_by_luck(gold):
    assert not can_be_satisfied(question("q", gold))


@pytest.mark.parametrize(
    "gold",
    [
        "SELECT count(*) FROM city WHERE gdp > 8 AND gdp < 3",
        "SELECT * FROM city WHERE name IN (SELECT name FROM city)",
        "SELECT name FROM city EXCEPT SELECT name FROM city",
        "SELECT name FROM city WHERE founded > 1990",
        "SELECT DISTINCT T1.* FROM city AS T1",
    ],
)
def test_conditions_that_synthetic_rows_aim_at(gold):
    assert can_be_satisfied(question("q", gold))


def test_tie_is_flagged():
    assert "tie" in tie_at_limit(facts(on_rows=Match("match", tied=True)))


def test_date_without_quotes_is_flagged_with_the_number_that_it_is():
    found = unquoted_date(facts("SELECT name FROM city WHERE founded > 2010-01-02"))
    assert found == "2010-01-02 is the number 2007"


def test_two_columns_without_a_comma_are_flagged():
    assert missing_comma(facts('SELECT name "province" FROM city')) == 'name "province"'


@pytest.mark.parametrize(
    "gold",
    [
        "SELECT name , province FROM city",
        "SELECT name AS province FROM city",
        "SELECT name n FROM city",
        "SELECT a.name FROM city a , city b",
    ],
)
def test_columns_with_comma_or_alias_are_not_flagged(gold):
    assert missing_comma(facts(gold)) == ""


def test_contradiction_names_the_other_question():
    assert "q7" in contradictory_golds(facts(contradicted_by=("q7",)))
