"""When a person must approve a model, and what the person sees."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from airflow.sdk.exceptions import AirflowSkipException

from sqltune.operators.approval import ModelApprovalOperator, no_approval_needed
from tests.plans import run_plan
from tests.verdicts import PASSED


def test_a_passed_model_needs_approval_where_the_form_says_ask():
    assert no_approval_needed("ask", passed=True) is None


def test_a_model_that_was_held_back_needs_no_approval():
    assert "held the model back" in no_approval_needed("ask", passed=False)


@pytest.mark.parametrize("promote", ["yes", "hold"])
def test_no_approval_is_needed_where_the_form_does_not_say_ask(promote):
    assert f"promote: {promote}" in no_approval_needed(promote, passed=True)


def test_a_cleared_approval_that_is_not_needed_is_skipped_again():
    plan = run_plan(promote="hold").model_dump(mode="json")
    operator = ModelApprovalOperator(task_id="approve", plan=plan, verdict=PASSED)
    with pytest.raises(AirflowSkipException, match="promote: hold"):
        operator.execute(SimpleNamespace())
