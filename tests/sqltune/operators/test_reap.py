"""Which gangs no task needs any more; stopping them is tested on hosts."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from sqltune.operators import reap
from sqltune.records import installation


@pytest.fixture
def airflow(records, monkeypatch):
    """What Airflow answers: states by run id and task id."""
    states: dict[str, dict[str, str | None]] = {}
    ti = SimpleNamespace(
        get_task_states=lambda dag_id, task_ids, run_ids: {r: states[r] for r in run_ids if r in states}
    )
    monkeypatch.setattr(reap, "get_current_context", lambda: {"ti": ti})
    return states


def owner(run_id: str = "r1", airflow: str | None = None) -> dict[str, str]:
    return {"dag_id": "d", "task_id": "train", "run_id": run_id, "airflow": airflow or installation.name()}


@pytest.mark.parametrize("state", ["running", "deferred", "up_for_retry", None])
def test_a_gang_whose_task_is_active_is_kept(airflow, state):
    airflow["r1"] = {"train": state}
    assert reap._why_orphaned(owner()) is None


@pytest.mark.parametrize("state", ["failed", "success", "skipped", "removed"])
def test_a_gang_whose_task_has_ended_is_an_orphan(airflow, state):
    airflow["r1"] = {"train": state}
    assert reap._why_orphaned(owner()) == f"its task is {state}"


def test_a_gang_whose_run_was_deleted_is_an_orphan(airflow):
    assert reap._why_orphaned(owner()) == "its run no longer exists"


def test_a_gang_of_another_airflow_is_left_alone(airflow):
    assert reap._why_orphaned(owner(airflow="another")) is None


def test_a_gang_without_an_owner_is_left_alone(airflow):
    assert reap._why_orphaned({}) is None


def test_a_run_without_a_plan_has_nothing_to_reap():
    reap.ReapGangOperator(task_id="reap", task="train", plan=None).execute({})
