"""Task `plan`: from the trigger form to the run plan; and the hosts that later tasks are mapped over."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Any, Literal

from airflow.sdk import get_current_context
from airflow.sdk.exceptions import AirflowFailException

from sqltune import node
from sqltune.config.plan import RunPlan
from sqltune.contracts import dumped, typed_task
from sqltune.errors import ConfigError
from sqltune.estimate.estimating import require_memory
from sqltune.metrics import emit
from sqltune.records import runs, turns
from sqltune.records.logstore import check_log_store
from sqltune.records.runs import trained_before
from sqltune.tasks import estimates, planning
from sqltune.tasks import revisions as revision
from sqltune.timetables.revisions import commit_of

log = logging.getLogger(__name__)


@typed_task
def plan() -> RunPlan | Literal[False]:
    """Read the form, check all of it, and pin what it leaves open.

    Of two runs on one cluster one goes on; the other is put off until that has ended (`turns`).

    Returns:
        The plan; False when a run with the same fingerprint was trained before, which ends this run green.

    Raises:
        AirflowFailException: The form has mistakes, or the training cannot fit the cluster's GPUs; a retry
            would find the same.
        AirflowRescheduleException: Another run works on the cluster; Airflow starts the task again later.
        LogStoreError: The log store cannot be written: the training could not end before it can.
    """
    run_plan = _read_form()
    _log_plan(run_plan)
    check_log_store(run_plan.key)
    runs.put_plan(run_plan)
    revision.claim(run_plan, is_partition=commit_of(_partition_key()) is not None, exists=_exists)
    # A forced run may train again what another one has trained: this one has nothing new all the same.
    if _has_nothing_new(run_plan):
        return False
    context = get_current_context()
    ti = context["ti"]
    run_plan = _estimate(run_plan, ti)
    turns.wait_for_turn(run_plan, ti)
    waiting_since = ti.get_first_reschedule_date(context)
    emit(
        run_plan.cluster_name,
        "queue",
        (datetime.now(UTC) - waiting_since).total_seconds() if waiting_since else 0.0,
    )
    # The run that had the cluster until now may have trained the same.
    return False if _has_nothing_new(run_plan) else run_plan


def _estimate(plan: RunPlan, ti: Any) -> RunPlan:
    """Say, record and hand on what the training will take; what cannot fit is refused.

    Returns:
        The plan, with its strategy chosen where it has `probe`.
    """
    chosen, estimated = estimates.make(plan)
    if chosen != plan:
        runs.put_plan(chosen)
    ti.xcom_push(key="estimate", value=dumped(estimated))
    try:
        require_memory(estimated)
    except ConfigError as e:
        raise AirflowFailException(str(e)) from e
    return chosen


def _has_nothing_new(plan: RunPlan) -> bool:
    """Whether a run trained the same plan and has its verdict; recorded and logged if so.

    That run may be this one: it was cleared as a whole, and keeps its verdict.
    """
    earlier = trained_before(plan.cluster_name, plan.fingerprint)
    if earlier is None or plan.force:
        return False
    log.info(
        "nothing new: run %s trained and judged the same plan (fingerprint %s). "
        "Set force in the form to train it again",
        earlier,
        plan.fingerprint,
    )
    if earlier != plan.run_id:
        runs.put_same_as(plan.key, earlier)
    return True


def _exists(run_id: str) -> bool:
    """Whether Airflow has a run of this DAG with this id, in whatever state."""
    ti = get_current_context()["ti"]
    return bool(ti.get_dr_count(ti.dag_id, run_ids=[run_id]))


def _partition_key() -> str | None:
    return get_current_context()["dag_run"].partition_key


def _read_form() -> RunPlan:
    context = get_current_context()
    run = context["dag_run"]
    as_of = run.logical_date or run.run_after or datetime.now(UTC)
    code_version, _ = node.bundle()
    form = dict(context["params"])
    # The revision is the run's partition, unless the form names another one.
    form["dataset_revision"] = form.get("dataset_revision") or commit_of(run.partition_key)
    try:
        plan = planning.make_plan(form, run.run_id, as_of, code_version)
    except ConfigError as e:
        raise AirflowFailException(str(e)) from e
    return plan.model_copy(update={"force": plan.force or revision.is_reprocessed(plan, run)})


def _log_plan(plan: RunPlan) -> None:
    log.info("dataset %s, commit %s of %s", plan.dataset_repo, plan.dataset_commit[:12], plan.dataset_date)
    names = ", ".join(h.name for h in plan.cluster.hosts)
    log.info("train %s on %s: %s", plan.base_model, names, plan.training)
    log.info("champion: %s", plan.champion or "none yet; the base model takes its place")
    if plan.start:
        log.info("training goes on from the adapter of version %d: %s", plan.start.version, plan.start.path)
    elif plan.start_from == "champion":
        log.info("start_from is champion, and none is served yet: training starts from the base model")


@typed_task
def hosts(plan: RunPlan) -> list[str]:
    """Names of the plan's hosts."""
    return [h.name for h in plan.cluster.hosts]


@typed_task
def storages(plan: RunPlan) -> list[str]:
    """One host for each storage: all hosts, or the master alone where storage is shared."""
    return [h.name for h in plan.cluster.storage_hosts]


@typed_task
def strategies(plan: RunPlan) -> list[str]:
    """The DeepSpeed strategies to measure before the training; none where the plan has one already."""
    return list(plan.strategies)
