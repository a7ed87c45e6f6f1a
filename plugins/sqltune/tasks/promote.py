"""Task `promote`, and `choose` and `serve` of text2sql_promote: serve a version under the public name."""

from __future__ import annotations

import asyncio
import logging

from airflow.sdk import get_current_context
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from sqltune import node
from sqltune.config.loading import load_cluster
from sqltune.config.plan import Champion, RunPlan, Site
from sqltune.contracts import ChosenVersion, typed_task
from sqltune.errors import ConfigError, RegistryError
from sqltune.evaluation.verdict import Verdict
from sqltune.metrics import emit
from sqltune.records import turns
from sqltune.registry import mlflow_mirror, versions
from sqltune.serving.weights import require_base_model, servers_of
from sqltune.tasks.mlflow import flush_mlflow

log = logging.getLogger(__name__)


@typed_task
def promote(plan: RunPlan, verdict: Verdict, number: int, tried: Verdict | None = None) -> int:
    """Serve the candidate under the champion's name, and record the promotion.

    Args:
        plan: The run plan.
        verdict: The gate's verdict.
        number: Number of the candidate's version.
        tried: The verdict after the candidate's trial; None where there was none.

    Raises:
        AirflowSkipException: The gate, the trial or the form holds the candidate back, or another version was
            promoted since the comparison.
        AirflowRescheduleException: Another run works on the cluster, as this one was cleared: it may be
            asking the model that is served. Airflow starts the task again later.
    """
    _require_permission(plan, verdict, tried)
    turns.wait_for_turn(plan, get_current_context()["ti"])
    version = versions.version(plan.cluster_name, number)
    if problem := versions.other_champion(plan, version):
        raise AirflowSkipException(problem)
    reason = "approved by a person" if plan.promote == "ask" else "passed the gate"
    serve_version(plan, version, reason, plan.run_id)
    return number


def _require_permission(plan: RunPlan, verdict: Verdict, tried: Verdict | None) -> None:
    if not verdict.passed:
        raise AirflowSkipException(f"held back by the gate: {_failed_rules(verdict)}")
    if tried and not tried.passed:
        raise AirflowSkipException(f"held back by the trial: {_failed_rules(tried)}")
    if plan.promote == "hold":
        raise AirflowSkipException("held back by the form (promote: hold)")


def _failed_rules(verdict: Verdict) -> str:
    return "; ".join(f"{rule.id}: {rule.explanation}" for rule in verdict.failed_rules)


def serve_version(site: Site, version: versions.Version, reason: str, run_id: str) -> None:
    """Serve a registered version under the public name, and record the promotion.

    Used for the chain's promotion, a manual one, and a rollback.

    Args:
        site: The cluster to serve on.
        version: The version.
        reason: What decided; recorded with the promotion.
        run_id: The Airflow run that promotes.
    """
    hook, model = servers_of(site, version, version.dtype)
    previous = versions.champion(site.cluster_name)
    status = hook.switch(model, version.number, version.run_id)
    versions.promote(version, reason, run_id)
    emit(site.cluster_name, "promotions", 1)
    log.info(
        "[%s] version %d is served as %s at %s (ready after %s s; version %s answered its last request "
        "after %s s)",
        hook.host.name,
        version.number,
        hook.settings.model_name,
        status.api,
        status.ready_after,
        _number(previous),
        status.drained_after,
    )
    mlflow_mirror.enqueue(mlflow_mirror.ALIAS, version)
    flush_mlflow()


@typed_task
def choose_version() -> ChosenVersion:
    """The version that the form names, or the one that was served before the champion.

    Raises:
        AirflowFailException: The version or cluster does not exist; nothing has been changed.
    """
    form = get_current_context()["params"]
    name, number = form["cluster"], form["version"]
    try:
        cluster = load_cluster(name)
        version = versions.version(name, number) if number else versions.before(name)
        require_base_model(cluster, version)
    except (ConfigError, RegistryError) as e:
        raise AirflowFailException(str(e)) from e
    log.info(
        "version %d of %s, from run %s: %s, %s. Served now: version %s",
        version.number,
        version.cluster,
        version.run_id,
        version.lineage["score"],
        version.lineage["verdict"],
        _number(versions.champion(name)),
    )
    action = "promoted by hand" if number else "rolled back by hand"
    return ChosenVersion(
        site=Site(cluster_name=name, cluster=cluster, code_version=node.bundle()[0]),
        version=version.number,
        reason=f"{action} ({form['reason']})",
    )


@typed_task
def serve_chosen(chosen: ChosenVersion) -> int:
    """Serve the version that `choose_version` returned."""
    site = chosen.site
    asyncio.run(node.push(site, site.cluster.serving_host))
    version = versions.version(site.cluster_name, chosen.version)
    serve_version(site, version, chosen.reason, get_current_context()["dag_run"].run_id)
    return chosen.version


def _number(champion: Champion | None) -> str:
    return str(champion.version) if champion else "none"
