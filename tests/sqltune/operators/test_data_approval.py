"""When a person must decide on a dataset, and what the person sees."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk.exceptions import AirflowSkipException

from sqltune.config.data_limits import DataLimits
from sqltune.config.plan import RunPlan
from sqltune.operators.data_approval import DataApprovalOperator
from sqltune.records import data_checks, installation, runs
from tests.plans import run_plan
from tests.revisions_of_rows import check, rows

LOST = check(rows()[:66], rows())


@pytest.fixture
def asking(records) -> RunPlan:
    """A plan whose recipe asks, with a third of its questions gone."""
    return planned()


def planned(on_excess="ask", **fields) -> RunPlan:
    recipe = run_plan().recipe.model_copy(update={"data_limits": DataLimits(on_excess=on_excess)})
    plan = run_plan(recipe=recipe, installation=installation.name(), **fields)
    runs.put_plan(plan)
    data_checks.put(plan.key, LOST)
    return plan


def operator(plan: RunPlan) -> DataApprovalOperator:
    return DataApprovalOperator(task_id="approve_data", plan=plan.model_dump(mode="json"))


def test_the_person_sees_what_exceeds_which_limit(asking, monkeypatch):
    monkeypatch.setattr(ApprovalOperator, "execute", lambda self, context: "waits")
    task = operator(asking)
    assert task.execute(SimpleNamespace()) == "waits"
    assert "34 of 100 questions are gone" in task.body
    assert "max_lost is 10.0%" in task.body
    assert asking.run_id in task.subject


@pytest.mark.parametrize("changed", [{"on_excess": "stop"}, {"on_excess": "tell"}, {"accept_data": True}])
def test_nobody_is_asked_where_the_recipe_or_the_form_has_decided(records, changed):
    plan = planned(**changed)
    with pytest.raises(AirflowSkipException):
        operator(plan).execute(SimpleNamespace())


def test_nobody_is_asked_about_data_within_its_limits(asking):
    data_checks.put(asking.key, check(rows(), rows()))
    with pytest.raises(AirflowSkipException):
        operator(asking).execute(SimpleNamespace())
