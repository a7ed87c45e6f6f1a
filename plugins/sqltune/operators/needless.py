"""Tasks that a plan makes needless are skipped by `plan`: none is started only to be skipped."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import DownstreamTasksSkipped

from sqltune.config.plan import RunPlan
from sqltune.operators.data_approval import APPROVE_DATA, asks

if TYPE_CHECKING:
    from airflow.sdk import Context

STRATEGIES = "strategies"
"""Id of the task whose list `probe` is mapped over."""


def skip_needless_tasks(context: Context, result: Any) -> None:
    """Skip `approve_data` where the recipe never asks, and `strategies` where none is to be measured.

    For the `post_execute` of the task `plan`: a task that is started only to be skipped would cost seconds of
    every run.

    Args:
        context: The task's context.
        result: The `RunPlan` as JSON; False where nothing is new.

    Raises:
        DownstreamTasksSkipped: Airflow sets the named tasks to skipped; `plan` itself succeeds.
    """
    if not result:
        return
    plan = RunPlan.model_validate(result)
    needed = {APPROVE_DATA: asks(plan), STRATEGIES: bool(plan.strategies)}
    if needless := [task for task, is_needed in needed.items() if not is_needed]:
        # Airflow does not push what a task returned when it skips tasks downstream.
        context["ti"].xcom_push(key="return_value", value=result)
        raise DownstreamTasksSkipped(tasks=needless)
