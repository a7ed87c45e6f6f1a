"""Explained questions, of files and of a run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sqltune.errors import ScoringError
from sqltune.evaluation.explained import answered_in_files, answered_in_run, explain_answers
from sqltune.records import runs
from sqltune.records.errors import UnknownRun
from tests.plans import run_plan
from tests.sqltune.evaluation.builders import score_of, store
from tests.sqltune.evaluation.witnesses import CONTEXT

GOLD = ["SELECT name FROM team", "SELECT city FROM team", "SELECT id FROM team"]


@pytest.fixture
def planned_run(records) -> str:
    """A run that is planned and has no answers yet; its key."""
    runs.put_plan(run_plan())
    return "r1"


@pytest.fixture
def gold(tmp_path: Path) -> Path:
    """A file of three questions."""
    file = tmp_path / "gold.jsonl"
    rows = [{"question": f"q{i}", "context": CONTEXT, "answer_sqlite": query} for i, query in enumerate(GOLD)]
    file.write_text("\n".join(map(json.dumps, rows)))
    return file


def predictions(gold: Path, name: str, **wrong: str) -> Path:
    """A file of predictions: right, except for those given by the number of their row, from 1."""
    file = gold.parent / name
    file.write_text("\n".join(wrong.get(f"row{i}", query) for i, query in enumerate(GOLD, 1)))
    return file


def test_wrong_answers_alone_are_explained(gold):
    answered = answered_in_files(gold, predictions(gold, "one.txt", row2="SELECT name FROM team"))
    (question,) = explain_answers(answered)
    assert question.id == "000002"
    assert question.answers["answer"].outcome == "mismatch"


def test_answers_of_two_models_stand_side_by_side(gold):
    before = predictions(gold, "before.txt", row1="SELECT nothing FROM team")
    after = predictions(gold, "after.txt", row3="SELECT -id FROM team")
    questions = explain_answers(answered_in_files(gold, before, after))
    outcomes = {q.id: [a.outcome for a in q.answers.values()] for q in questions}
    assert outcomes == {"000001": ["invalid", "match"], "000003": ["match", "mismatch"]}
    assert list(questions[0].answers) == ["before", "after"]


@pytest.mark.parametrize("name", ["1", "000001"])
def test_named_question_is_explained_though_it_is_right(gold, name):
    (question,) = explain_answers(answered_in_files(gold, predictions(gold, "one.txt")), [name])
    assert question.answers["answer"].outcome == "match"


def test_question_that_is_not_there_is_named(gold):
    answered = answered_in_files(gold, predictions(gold, "one.txt"))
    with pytest.raises(ScoringError, match="there is no 7, x .*the first of 3 is 000001"):
        explain_answers(answered, ["7", "1", "x"])


def test_files_of_different_lengths_are_refused(gold):
    (gold.parent / "two.txt").write_text("SELECT 1\nSELECT 2\n")
    with pytest.raises(ScoringError, match="3 rows"):
        answered_in_files(gold, gold.parent / "two.txt")


def test_answers_of_a_run_are_those_in_the_records(planned_run):
    store(planned_run, "before", score_of(3, wrong=[0, 1]))
    store(planned_run, "after", score_of(3, wrong=[0]))
    answered = answered_in_run(planned_run)
    assert [a.question.id for a in answered] == ["q000", "q001", "q002"]
    assert list(answered[0].queries) == ["before", "after"]


def test_run_that_has_no_answers_yet_is_named(planned_run):
    with pytest.raises(ScoringError, match=f"run {planned_run} has no answers"):
        answered_in_run(planned_run)


def test_unknown_run_is_named(records):
    with pytest.raises(UnknownRun, match="nowhere"):
        answered_in_run("nowhere")
