"""Task `plan`: the form becomes a plan, and the hosts to map tasks over."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Any

from airflow.sdk import get_current_context
from airflow.sdk.exceptions import AirflowFailException

from sqltune import node
from sqltune.config.plan import RunPlan
from sqltune.errors import ConfigError
from sqltune.records.files import Record, trained_before
from sqltune.tasks import planning

log = logging.getLogger(__name__)


def plan() -> dict[str, Any] | bool:
    """Read the form, check all of it, pin what it names. False when this very plan was trained before: the run ends here, green."""
    context = get_current_context()
    run = context["dag_run"]
    as_of = run.logical_date or run.run_after or datetime.now(UTC)
    version, _ = node.bundle()
    try:
        made = planning.make_plan(dict(context["params"]), run.run_id, as_of, version)
    except ConfigError as e:
        # A typo is the same at the next try.
        raise AirflowFailException(str(e)) from e
    log.info(
        "dataset %s at %s of %s (as of %s)",
        made.dataset_repo,
        made.dataset_commit[:12],
        made.dataset_date,
        as_of,
    )
    log.info(
        "train %s on %s: %s", made.base_model, ", ".join(h.name for h in made.cluster.hosts), made.training
    )
    log.info("champion: %s", made.champion or "none yet, the base model is what to beat")
    Record.of(made.key).put("plan", made.model_dump(mode="json"))
    earlier = trained_before(made.fingerprint)
    if earlier and not made.force:
        log.info(
            "nothing new: %s trained and judged this very plan (%s); set force to train it again",
            earlier,
            made.fingerprint,
        )
        Record.of(made.key).put("state", {"nothing_new": earlier})
        return False
    return made.model_dump(mode="json")


def hosts(plan: dict[str, Any]) -> list[str]:
    """Names of the plan's hosts, to map tasks over."""
    return [h.name for h in RunPlan.model_validate(plan).cluster.hosts]


def storages(plan: dict[str, Any]) -> list[str]:
    """One host per storage: all of them, or the master alone where storage is shared."""
    return [h.name for h in RunPlan.model_validate(plan).cluster.storage_hosts]
