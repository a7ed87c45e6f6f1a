"""Tasks that a plan makes needless."""

from __future__ import annotations

import pytest
from airflow.sdk.exceptions import DownstreamTasksSkipped

from sqltune.config.data_limits import DataLimits
from sqltune.operators.needless import skip_needless_tasks
from tests.plans import run_plan


class TaskInstance:
    """What was pushed."""

    def __init__(self) -> None:
        self.pushed: dict[str, object] = {}

    def xcom_push(self, key: str, value: object) -> None:
        self.pushed[key] = value


ASKS = run_plan().recipe.model_copy(update={"data_limits": DataLimits(on_excess="ask")})


@pytest.mark.parametrize(
    ("fields", "needless"),
    [
        ({}, ["approve_data", "strategies"]),
        ({"recipe": ASKS}, ["strategies"]),
        ({"strategies": ["zero2", "zero1"]}, ["approve_data"]),
    ],
)
def test_the_plan_skips_what_is_needless(fields, needless):
    ti, plan = TaskInstance(), run_plan(**fields).model_dump(mode="json")
    with pytest.raises(DownstreamTasksSkipped) as skipped:
        skip_needless_tasks({"ti": ti}, plan)
    assert skipped.value.tasks == needless
    assert ti.pushed == {"return_value": plan}


@pytest.mark.parametrize(
    "result", [run_plan(recipe=ASKS, strategies=["zero2", "zero1"]).model_dump(mode="json"), False]
)
def test_nothing_is_skipped_where_all_is_needed_or_nothing_is_new(result):
    ti = TaskInstance()
    skip_needless_tasks({"ti": ti}, result)
    assert ti.pushed == {}
