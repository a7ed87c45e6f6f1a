"""Task `plan`: from the trigger form to the run plan; and the hosts that later tasks are mapped over."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Literal

from airflow.sdk import get_current_context
from airflow.sdk.exceptions import AirflowFailException

from sqltune import node
from sqltune.config.plan import RunPlan
from sqltune.contracts import typed_task
from sqltune.errors import ConfigError
from sqltune.records.files import Record, trained_before
from sqltune.tasks import planning

log = logging.getLogger(__name__)


@typed_task
def plan() -> RunPlan | Literal[False]:
    """Read the form, check all of it, and pin what it leaves open.

    Returns:
        The plan; False when a run with the same fingerprint was trained before, which ends this run green.

    Raises:
        AirflowFailException: The form has mistakes; a retry would find the same ones.
    """
    run_plan = _read_form()
    _log_plan(run_plan)
    record = Record.of(run_plan.key)
    record.put("plan", run_plan.model_dump(mode="json"))
    earlier = trained_before(run_plan.fingerprint)
    if earlier and not run_plan.force:
        log.info(
            "nothing new: run %s trained and judged the same plan (fingerprint %s). "
            "Set force in the form to train it again",
            earlier,
            run_plan.fingerprint,
        )
        record.put("state", {"nothing_new": earlier})
        return False
    return run_plan


def _read_form() -> RunPlan:
    context = get_current_context()
    run = context["dag_run"]
    as_of = run.logical_date or run.run_after or datetime.now(UTC)
    code_version, _ = node.bundle()
    try:
        return planning.make_plan(dict(context["params"]), run.run_id, as_of, code_version)
    except ConfigError as e:
        raise AirflowFailException(str(e)) from e


def _log_plan(plan: RunPlan) -> None:
    log.info("dataset %s, commit %s of %s", plan.dataset_repo, plan.dataset_commit[:12], plan.dataset_date)
    names = ", ".join(h.name for h in plan.cluster.hosts)
    log.info("train %s on %s: %s", plan.base_model, names, plan.training)
    log.info("champion: %s", plan.champion or "none yet; the base model takes its place")


@typed_task
def hosts(plan: RunPlan) -> list[str]:
    """Names of the plan's hosts."""
    return [h.name for h in plan.cluster.hosts]


@typed_task
def storages(plan: RunPlan) -> list[str]:
    """One host for each storage: all hosts, or the master alone where storage is shared."""
    return [h.name for h in plan.cluster.storage_hosts]
