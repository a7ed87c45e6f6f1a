"""The hosted reference, without anybody to ask."""

from __future__ import annotations

import sys

import pytest
from airflow.sdk.exceptions import AirflowSkipException

from sqltune.tasks import reference


def test_without_its_environment_the_hosted_reference_is_skipped(plan):
    with pytest.raises(AirflowSkipException, match="SQLTUNE_REFERENCE_PYTHON"):
        reference.reference_questions(plan, "/nowhere/bin/python")


def test_a_hosted_reference_that_fails_is_told_and_no_reference_is_none(caplog):
    wanted = {"model": "glm-4", "label": "glm-4", "url": "", "questions": []}
    told = reference.reference_answers(wanted, None)
    assert told["answers"] == {} and told["trouble"] == "its task failed" and "before.hosted" in caplog.text
    assert reference.reference_answers(wanted, {"answers": {"1": "SELECT 1"}, "trouble": ""})["answers"] == {
        "1": "SELECT 1"
    }
    assert reference.reference_answers(None, None) is None


def test_without_its_connection_nobody_is_asked_and_the_column_says_so(plan):
    wanted = reference.reference_questions(plan, sys.executable)
    assert wanted["label"] == "glm-4 (no key)" and wanted["questions"] == []
