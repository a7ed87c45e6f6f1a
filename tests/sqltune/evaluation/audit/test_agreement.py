"""Both models against the gold query."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from sqltune.evaluation.audit.agreement import models_agree
from sqltune.evaluation.questions import Question
from sqltune.evaluation.scorer import score_queries
from tests.sqltune.evaluation.audit.builders import CONTEXT, question

RIGHT = "SELECT name FROM city"
WRONG = "SELECT province FROM city WHERE gdp > 3"
SAME_AS_WRONG = "SELECT T1.province FROM city AS T1 WHERE 3 < T1.gdp"
EMPTY = "SELECT province FROM city WHERE 1 = 0"


def suite(database: str | None = None) -> list[Question]:
    """Three questions."""
    return [question("Which cities?", RIGHT, f"q{i}", database=database) for i in range(3)]


def agreed(before: str, after: str, questions: list[Question] | None = None, right: int = 2) -> list[str]:
    """The flagged questions, where both models answer the first `right` ones correctly, and the others so."""
    asked = questions or suite()

    def score(sql: str):
        return score_queries(
            "m", asked, {q.id: RIGHT if i < right else sql for i, q in enumerate(asked)}, processes=1
        )

    return list(models_agree(asked, score(before), score(after)))


def test_same_rows_of_both_models_are_flagged():
    assert agreed(WRONG, SAME_AS_WRONG) == ["q2"]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (WRONG, "SELECT province FROM city WHERE gdp > 5"),
        (RIGHT, RIGHT),
        (WRONG, RIGHT),
        ("SELECT oops FROM city", "SELECT oops FROM city"),
        (EMPTY, EMPTY),
    ],
)
def test_other_answers_are_not_flagged(before, after):
    assert agreed(before, after) == []


def test_agreement_of_weak_models_says_nothing():
    assert agreed(WRONG, SAME_AS_WRONG, right=1) == []


@pytest.fixture
def database(tmp_path: Path) -> str:
    """One city, on which `gdp > 3` and `gdp > 5` are the same."""
    file = tmp_path / "cities.sqlite"
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute(CONTEXT)
        connection.execute("INSERT INTO city VALUES (1, '成都', '四川', 9, '2001')")
    return str(file)


def test_queries_that_agree_on_their_database_by_chance_are_not_flagged(database):
    assert agreed(WRONG, "SELECT province FROM city WHERE gdp > 5", suite(database)) == []


def test_queries_that_agree_on_their_database_and_on_synthetic_ones_are_flagged(database):
    assert agreed(WRONG, SAME_AS_WRONG, suite(database)) == ["q2"]


def test_question_that_only_one_model_answered_is_left_out():
    asked = suite()
    before = score_queries("m", asked, {q.id: WRONG if q.id == "q2" else RIGHT for q in asked}, processes=1)
    after = score_queries("m", asked[:2], {q.id: RIGHT for q in asked[:2]}, processes=1)
    assert models_agree(asked, before, after) == {}
