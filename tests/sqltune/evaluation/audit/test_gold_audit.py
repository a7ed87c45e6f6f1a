"""The audit of a suite, on real and on synthetic databases."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest

from sqltune.dataset.rows import read_rows
from sqltune.evaluation.audit.flags import count_by_reason
from sqltune.evaluation.audit.gold_audit import audit
from sqltune.evaluation.questions import Question, question_from_row
from sqltune.evaluation.suites import load
from tests.conftest import shared_data
from tests.sqltune.evaluation.audit.builders import CONTEXT, question


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Three cities, two of which have the same GDP."""
    file = tmp_path_factory.mktemp("audit") / "cities.sqlite"
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute(CONTEXT)
        rows = [
            (1, "成都", "四川", 5, "2001"),
            (2, "绵阳", "四川", 5, "2002"),
            (3, "济南", "山东", 9, "2003"),
        ]
        connection.executemany("INSERT INTO city VALUES (?, ?, ?, ?, ?)", rows)
    return str(file)


def reasons(*questions: Question) -> dict[str, list[str]]:
    """The reasons for which each question is flagged."""
    return {name: [flag.reason for flag in flags] for name, flags in audit(questions, processes=1).items()}


def on(database: str | None, text: str, gold: str, name: str = "q") -> Question:
    return question(text, gold, name, database=database)


def test_query_that_is_right_has_no_flag(database):
    assert reasons(on(database, "四川有哪些城市？", "SELECT name FROM city WHERE province = '四川'")) == {}


def test_query_that_does_not_run(database):
    assert reasons(on(database, "城市？", "SELECT oops FROM city")) == {"q": ["does_not_run"]}


@pytest.mark.parametrize("with_database", [True, False])
def test_query_whose_conditions_contradict_each_other(database, with_database):
    gold = "SELECT name FROM city WHERE gdp > 8 AND gdp < 3"
    asked = on(database if with_database else None, "GDP大于8且小于3的城市？", gold)
    assert reasons(asked) == {"q": ["empty_everywhere"]}


def test_query_that_is_empty_on_its_database_alone_has_no_flag(database):
    assert reasons(on(database, "GDP大于80的城市？", "SELECT name FROM city WHERE gdp > 80")) == {}


@pytest.mark.parametrize(
    "gold",
    [
        "SELECT name FROM city ORDER BY gdp LIMIT 1",
        "SELECT id FROM city WHERE name IN (SELECT name FROM city ORDER BY gdp LIMIT 1)",
    ],
)
def test_tie_at_the_cut_of_a_limit(database, gold):
    assert reasons(on(database, "GDP最低的城市？", gold)) == {"q": ["tie_at_limit"]}


@pytest.mark.parametrize(
    "gold",
    [
        "SELECT name FROM city ORDER BY gdp DESC LIMIT 1",
        "SELECT province FROM city ORDER BY gdp LIMIT 1",
        "SELECT province FROM city WHERE name IN (SELECT name FROM city ORDER BY gdp LIMIT 1)",
        "SELECT name FROM city ORDER BY gdp",
    ],
)
def test_tie_that_changes_nothing_has_no_flag(database, gold):
    assert reasons(on(database, "哪个城市？", gold)) == {}


def test_tie_on_synthetic_rows_means_nothing():
    assert reasons(on(None, "GDP最低的城市？", "SELECT name FROM city ORDER BY gdp LIMIT 1")) == {}


def test_value_of_the_database_that_the_query_does_not_compare(database):
    asked = on(database, "绵阳的GDP是多少？", "SELECT gdp FROM city WHERE name = '成都'")
    assert reasons(asked) == {"q": ["literal_not_in_question", "literal_not_in_gold"]}


def test_same_question_with_other_rows_contradicts():
    one = on(None, "有多少城市？", "SELECT count(*) FROM city", "a")
    other = on(None, "有多少城市", "SELECT count(DISTINCT province), 1 FROM city", "b")
    assert reasons(one, other) == {"a": ["contradictory_golds"], "b": ["contradictory_golds"]}


def test_same_question_with_the_same_rows_does_not_contradict():
    one = on(None, "有多少城市？", "SELECT count(*) FROM city", "a")
    other = on(None, "有多少城市？", "SELECT count(*) FROM city AS T1", "b")
    assert reasons(one, other) == {}


def test_same_question_on_another_schema_does_not_contradict(database):
    one = on(None, "有多少城市？", "SELECT count(*) FROM city", "a")
    other = on(database, "有多少城市？", "SELECT count(name) FROM city", "b")
    assert reasons(one, other) == {}


def test_reference_prompts_are_not_doubtful():
    assert audit(load("reference"), processes=1) == {}


def test_no_questions_have_no_flags():
    assert audit([]) == {}


def flagged(name: str, rows: Sequence[object]) -> dict[str, int]:
    folder = shared_data(name)
    questions = [question_from_row(row, f"{i}", folder / "sqlite") for i, row in enumerate(rows)]
    return count_by_reason(audit(questions))


def test_what_it_finds_in_the_development_set_of_dusql():
    """The counts of docs/verdict.md, where each flag was read."""
    rows = list(read_rows([shared_data("dusql_dev") / "dev.jsonl"]))
    assert flagged("dusql_dev", rows) == {
        "does_not_run": 4,
        "tie_at_limit": 121,
        "unquoted_date": 18,
        "missing_comma": 20,
        "literal_not_in_question": 10,
        "literal_not_in_gold": 7,
        "contradictory_golds": 2,
    }


def test_what_it_finds_in_the_development_set_of_spider():
    rows = list(read_rows([Path(shared_data("spider_dev")) / "dev.json"]))
    assert flagged("spider_dev", rows) == {"tie_at_limit": 50, "literal_not_in_gold": 2}
