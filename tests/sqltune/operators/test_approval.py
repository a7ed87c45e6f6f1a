"""When a person must approve a model, and what the person sees."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from airflow.sdk.exceptions import AirflowSkipException, DownstreamTasksSkipped

from sqltune.operators.approval import (
    ModelApprovalOperator,
    no_approval_needed,
    skip_needless_approval,
)
from tests.plans import run_plan

COMPARISON = {
    "questions": 100,
    "gained": 9,
    "lost": 1,
    "difference": 0.08,
    "low": 0.02,
    "high": 0.14,
    "p_value": 0.02,
}
PASSED = {"passed": True, "rules": [], "comparison": COMPARISON}
HELD_BACK = PASSED | {"passed": False}


class TaskInstance:
    """Has the plan of a run, and keeps what is pushed."""

    def __init__(self, promote: str) -> None:
        self.pushed: dict[str, object] = {}
        self.promote = promote

    def xcom_pull(self, task_ids: str) -> object:
        assert task_ids == "plan"
        return run_plan(promote=self.promote).model_dump(mode="json")

    def xcom_push(self, key: str, value: object) -> None:
        self.pushed[key] = value


def gate_ended(promote: str, verdict: dict) -> TaskInstance:
    """Call the hook as Airflow does after the gate; the gate's task instance."""
    ti = TaskInstance(promote)
    skip_needless_approval({"ti": ti}, verdict)
    return ti


def test_a_passed_model_needs_approval_where_the_form_says_ask():
    assert no_approval_needed("ask", passed=True) is None


def test_a_model_that_was_held_back_needs_no_approval():
    assert "held the model back" in no_approval_needed("ask", passed=False)


@pytest.mark.parametrize("promote", ["yes", "hold"])
def test_no_approval_is_needed_where_the_form_does_not_say_ask(promote):
    assert f"promote: {promote}" in no_approval_needed(promote, passed=True)


def test_the_gate_leaves_approval_to_run_where_it_is_needed():
    assert gate_ended("ask", PASSED).pushed == {}


@pytest.mark.parametrize(("promote", "verdict"), [("yes", PASSED), ("hold", PASSED), ("ask", HELD_BACK)])
def test_the_gate_skips_an_approval_that_is_not_needed(promote, verdict):
    with pytest.raises(DownstreamTasksSkipped) as skipped:
        gate_ended(promote, verdict)
    assert skipped.value.tasks == ["approve"]


def test_the_verdict_is_pushed_although_airflow_skips_tasks():
    """Airflow pushes no return value where a task skips others."""
    ti = TaskInstance("yes")
    with pytest.raises(DownstreamTasksSkipped):
        skip_needless_approval({"ti": ti}, PASSED)
    assert ti.pushed == {"return_value": PASSED}


def test_a_cleared_approval_that_is_not_needed_is_skipped_again():
    plan = run_plan(promote="hold").model_dump(mode="json")
    operator = ModelApprovalOperator(task_id="approve", plan=plan, verdict=PASSED)
    with pytest.raises(AirflowSkipException, match="promote: hold"):
        operator.execute(SimpleNamespace())
