"""Explanations, made in worker processes: they agree with the judge, on real answers and on hostile ones."""

from __future__ import annotations

import pytest

from sqltune.dataset.rows import read_rows
from sqltune.evaluation.execution_match import find_witnesses, match_pairs
from sqltune.evaluation.explanation import Explanation, explain
from sqltune.evaluation.judge import Pair
from sqltune.evaluation.score_files import read_predictions
from sqltune.evaluation.witness import Witness
from tests.conftest import shared_data
from tests.sqltune.evaluation.hostile_sql import HOSTILE
from tests.sqltune.evaluation.witnesses import CONTEXT, judged_on, league, rows_of

NAMES = "SELECT name FROM team"


def test_each_outcome_is_explained_in_the_order_of_the_pairs(tmp_path):
    file = league(tmp_path)
    predicted = [NAMES, "SELECT city FROM team", "SELECT town FROM team", "SELECT id FROM team"]
    explanations = explain([Pair(NAMES, query, CONTEXT, file) for query in predicted])
    assert [e.outcome for e in explanations] == ["match", "mismatch", "invalid", "mismatch"]
    assert [e.answer for e in explanations] == predicted
    assert [e.witness is not None for e in explanations] == [False, True, False, True]
    assert explanations[2].failure_class == "unknown_column"


def test_mismatch_has_its_error_class_and_differences(tmp_path):
    (explanation,) = explain([Pair(NAMES, "SELECT city FROM team", CONTEXT, league(tmp_path))])
    assert explanation.error_class == "column"
    assert explanation.differences == ("returns city instead of name",)


@pytest.mark.parametrize("answer", [NAMES, "SELECT town FROM team"])
def test_answer_that_is_right_or_does_not_run_has_no_error_class(tmp_path, answer):
    (explanation,) = explain([Pair(NAMES, answer, CONTEXT, league(tmp_path))])
    assert explanation.error_class is None


def test_gold_query_that_does_not_run_is_named():
    (explanation,) = explain([Pair("SELECT town FROM team", NAMES, CONTEXT)])
    assert explanation.why.startswith("The gold query does not run")


def test_explanation_survives_json(tmp_path):
    (explanation,) = explain([Pair(NAMES, "SELECT city FROM team", CONTEXT, league(tmp_path))])
    assert Explanation.model_validate_json(explanation.model_dump_json()) == explanation


def test_witnesses_are_the_same_in_any_number_of_processes(tmp_path):
    file = league(tmp_path)
    queries = ["SELECT city FROM team", "SELECT id FROM team", f"{NAMES} LIMIT 1", f"{NAMES} WHERE id > 1"]
    pairs = [Pair(NAMES, query, CONTEXT, file) for query in queries]
    assert find_witnesses(pairs, 1) == find_witnesses(pairs, 3)


def test_pair_that_kills_its_worker_costs_its_own_witness(monkeypatch, tmp_path):
    monkeypatch.setattr("sqltune.evaluation.execution_match.GRACE", -1e6)
    pair = Pair(NAMES, "SELECT city FROM team", CONTEXT, league(tmp_path))
    assert find_witnesses([pair, pair], 1) == [None, None]


def test_witnesses_of_real_answers_agree_with_the_judge(tmp_path):
    data = shared_data("spider_dev")
    questions = list(read_rows([data / "dev.json"]))[::12]
    predictions = read_predictions(data / "predictions" / "chatgpt-2303-spider.json")[::12]
    pairs = [
        Pair(q["query"], sql, database=str(data / "sqlite" / f"{q['db_id']}.sqlite"))
        for q, sql in zip(questions, predictions, strict=True)
    ]
    wrong = [p for p, match in zip(pairs, match_pairs(pairs), strict=True) if match.outcome == "mismatch"]
    assert len(wrong) > 20
    for number, (pair, document) in enumerate(zip(wrong, find_witnesses(wrong), strict=True)):
        witness = Witness.model_validate(document)
        file = tmp_path / f"{number}.sqlite"
        match = judged_on(file, witness, rows_of(witness), pair.gold, pair.predicted)
        assert match.outcome == "mismatch", pair


@pytest.mark.slow
def test_hostile_answers_end_in_a_clear_class_and_have_no_witness():
    context = "CREATE TABLE t (id INTEGER, name VARCHAR, age INTEGER)"
    # Not all of them: each that is slow takes its two seconds.
    hostile = HOSTILE[::9]
    explanations = explain([Pair("SELECT name FROM t", statement, context) for statement, _ in hostile])
    assert [e.outcome for e in explanations] == ["invalid"] * len(hostile)
    assert all(e.failure_class in classes for e, (_, classes) in zip(explanations, hostile, strict=True))
    assert not any(e.witness for e in explanations)
