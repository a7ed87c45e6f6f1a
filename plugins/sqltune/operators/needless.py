"""Tasks that a plan or the gate makes needless are skipped there: none is started only to be skipped."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import DownstreamTasksSkipped

from sqltune.config.plan import RunPlan
from sqltune.operators.approval import APPROVE, no_approval_needed
from sqltune.operators.data_approval import APPROVE_DATA, asks
from sqltune.operators.trial import END_TRIAL, TRIAL, no_trial_needed

if TYPE_CHECKING:
    from airflow.sdk import Context

log = logging.getLogger(__name__)

STRATEGIES = "strategies"
"""Id of the task whose list `probe` is mapped over."""


def skip_needless_tasks(context: Context, result: Any) -> None:
    """Skip what the plan makes needless: `approve_data`, `strategies` and the trial of the candidate.

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
    needless = [task for task, is_needed in needed.items() if not is_needed]
    if no_trial_needed(plan, passed=True):
        needless += [TRIAL, END_TRIAL]
    _skip(context, result, needless)


def skip_after_gate(context: Context, result: Any) -> None:
    """Skip `approve` where no approval is needed, and the trial where the candidate is not tried.

    For the `post_execute` of the gate's task.

    Args:
        context: The task's context.
        result: The `Verdict` as JSON.

    Raises:
        DownstreamTasksSkipped: Airflow sets the named tasks to skipped; the gate's own task succeeds.
    """
    from sqltune.evaluation.verdict import Verdict

    # Not the form's own value: a preset may have filled it in.
    plan = RunPlan.model_validate(context["ti"].xcom_pull(task_ids="plan"))
    passed = Verdict.model_validate(result).passed
    needless = []
    if reason := no_approval_needed(plan.promote, passed):
        log.info("%s is skipped: %s", APPROVE, reason)
        needless.append(APPROVE)
    if reason := no_trial_needed(plan, passed):
        log.info("%s is skipped: %s", TRIAL, reason)
        # One that runs already is ended, where the gate is cleared and decides otherwise.
        needless += [TRIAL, END_TRIAL] if no_trial_needed(plan, passed=True) else [TRIAL]
    _skip(context, result, needless)


def _skip(context: Context, result: Any, tasks: list[str]) -> None:
    if tasks:
        # Airflow does not push what a task returned when it skips tasks downstream.
        context["ti"].xcom_push(key="return_value", value=result)
        raise DownstreamTasksSkipped(tasks=tasks)
