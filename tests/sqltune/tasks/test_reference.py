"""The hosted reference, without anybody to ask."""

from __future__ import annotations

import sys

import pytest
from airflow.sdk.exceptions import AirflowSkipException

from sqltune.config.plan import RunPlan
from sqltune.records.files import Record
from sqltune.tasks import reference


def test_without_its_environment_the_hosted_reference_is_skipped(plan):
    with pytest.raises(AirflowSkipException, match="SQLTUNE_REFERENCE_PYTHON"):
        reference.reference_questions(plan, "/nowhere/bin/python")


def test_a_hosted_reference_that_fails_is_told_and_no_reference_is_none(caplog):
    wanted = {"model": "glm-4", "label": "glm-4", "url": "", "questions": []}
    told = reference.reference_answers(wanted, None)
    assert (
        told["answers"] == {} and told["trouble"] == "its task failed" and "reference.hosted" in caplog.text
    )
    assert reference.reference_answers(wanted, {"answers": {"1": "SELECT 1"}, "trouble": ""})["answers"] == {
        "1": "SELECT 1"
    }
    assert reference.reference_answers(None, None) is None


def test_without_its_connection_nobody_is_asked_and_the_column_says_so(plan):
    wanted = reference.reference_questions(plan, sys.executable)
    assert wanted["label"] == "glm-4 (no key)" and wanted["questions"] == []


def test_what_the_hosted_model_answered_is_scored_and_kept_for_the_next_run(plan):
    """The hosted model's answers had the name of the module that keeps them, and the gate failed with them."""
    p = RunPlan.model_validate(plan)
    row = {
        "question": "多少人？",
        "context": "CREATE TABLE t (a INTEGER)",
        "answer": "SELECT COUNT(*) FROM t",
    }
    Record.of(p.key).put("held_out", [row])
    question = reference.suite_of(p)[-1]
    hosted = {"model": "glm-4", "url": "", "label": "glm-4", "trouble": ""}
    score, label = reference.reference_score(p, hosted | {"answers": {question.id: question.gold}})
    assert label == "glm-4"
    assert (score.matched, score.questions) == (1, 1)
    again, _ = reference.reference_score(p, hosted | {"answers": {}})
    assert again.questions == 1
