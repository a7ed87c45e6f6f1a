"""Tasks that a plan or the gate makes needless."""

from __future__ import annotations

import pytest
from airflow.sdk.exceptions import DownstreamTasksSkipped

from sqltune.config.data_limits import DataLimits
from sqltune.config.plan import Champion, RunPlan
from sqltune.config.trial import Trial
from sqltune.operators.needless import skip_after_gate, skip_needless_tasks
from tests.plans import run_plan
from tests.verdicts import PASSED

HELD_BACK = PASSED | {"passed": False}
CHAMPION = Champion(version=1, merged_path="/m", model_hash="h")


def with_trial(**fields: object) -> RunPlan:
    """A plan whose cluster tries candidates, and serves a champion."""
    plan = run_plan(**({"champion": CHAMPION} | fields))
    settings = plan.cluster.serving.model_copy(update={"trial": Trial(mode="shadow")})
    return plan.model_copy(update={"cluster": plan.cluster.model_copy(update={"serving": settings})})


class TaskInstance:
    """Has the plan of a run, and keeps what is pushed."""

    def __init__(self, plan: RunPlan | None = None) -> None:
        self.pushed: dict[str, object] = {}
        self.plan = plan

    def xcom_pull(self, task_ids: str) -> object:
        assert task_ids == "plan"
        return self.plan.model_dump(mode="json")

    def xcom_push(self, key: str, value: object) -> None:
        self.pushed[key] = value


ASKS = run_plan().recipe.model_copy(update={"data_limits": DataLimits(on_excess="ask")})
NO_TRIAL = ["trial", "end_trial"]


@pytest.mark.parametrize(
    ("plan", "needless"),
    [
        (run_plan(), ["approve_data", "strategies", *NO_TRIAL]),
        (run_plan(recipe=ASKS), ["strategies", *NO_TRIAL]),
        (run_plan(strategies=["zero2", "zero1"]), ["approve_data", *NO_TRIAL]),
        (with_trial(), ["approve_data", "strategies"]),
        (with_trial(champion=None), ["approve_data", "strategies", *NO_TRIAL]),
        (with_trial(promote="hold", recipe=ASKS), ["strategies", *NO_TRIAL]),
    ],
)
def test_the_plan_skips_what_is_needless(plan, needless):
    ti, dumped = TaskInstance(), plan.model_dump(mode="json")
    with pytest.raises(DownstreamTasksSkipped) as skipped:
        skip_needless_tasks({"ti": ti}, dumped)
    assert skipped.value.tasks == needless
    assert ti.pushed == {"return_value": dumped}


@pytest.mark.parametrize(
    "result", [with_trial(recipe=ASKS, strategies=["zero2", "zero1"]).model_dump(mode="json"), False]
)
def test_nothing_is_skipped_where_all_is_needed_or_nothing_is_new(result):
    ti = TaskInstance()
    skip_needless_tasks({"ti": ti}, result)
    assert ti.pushed == {}


@pytest.mark.parametrize(
    ("plan", "verdict", "needless"),
    [
        (run_plan(promote="yes"), PASSED, ["approve", *NO_TRIAL]),
        (run_plan(promote="hold"), PASSED, ["approve", *NO_TRIAL]),
        (run_plan(promote="ask"), HELD_BACK, ["approve", *NO_TRIAL]),
        (run_plan(promote="ask"), PASSED, NO_TRIAL),
        (with_trial(promote="yes"), PASSED, ["approve"]),
        (with_trial(promote="hold"), PASSED, ["approve", *NO_TRIAL]),
        # The gate may have been cleared while the trial goes on.
        (with_trial(promote="ask"), HELD_BACK, ["approve", "trial"]),
    ],
)
def test_the_gate_skips_what_is_needless(plan, verdict, needless):
    """Airflow pushes no return value where a task skips others."""
    ti = TaskInstance(plan)
    with pytest.raises(DownstreamTasksSkipped) as skipped:
        skip_after_gate({"ti": ti}, verdict)
    assert skipped.value.tasks == needless
    assert ti.pushed == {"return_value": verdict}


def test_the_gate_leaves_approval_and_trial_to_run_where_they_are_needed():
    ti = TaskInstance(with_trial(promote="ask"))
    skip_after_gate({"ti": ti}, PASSED)
    assert ti.pushed == {}
