"""Tasks `promote`, and `choose` and `serve` of text2sql_promote: a version is served under the public name."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from airflow.sdk import get_current_context
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from sqltune import node
from sqltune.config.cluster import Cluster
from sqltune.config.loading import load_cluster
from sqltune.config.plan import RunPlan, Site
from sqltune.errors import ConfigError, RegistryError
from sqltune.evaluation.verdict import Verdict
from sqltune.records.files import Record
from sqltune.registry import mlflow_mirror, versions
from sqltune.serving.hook import ServingHook
from sqltune.tasks.mlflow import flush_mlflow

log = logging.getLogger(__name__)


def promote(plan: dict[str, Any], verdict: dict[str, Any], number: int) -> int:
    """Serve the candidate under the champion's name, and remember it; skipped when the gate or the form holds it back."""
    p = RunPlan.model_validate(plan)
    decision = Verdict.model_validate(verdict)
    if not decision.passed:
        raise AirflowSkipException(
            "held back by the gate: "
            + "; ".join(f"{rule.id}: {rule.explanation}" for rule in decision.failed_rules)
        )
    if p.promote == "hold":
        raise AirflowSkipException("held back by the form (promote: hold)")
    version = versions.version(p.cluster_name, number)
    serving = versions.champion(p.cluster_name)
    if serving not in (p.champion, version.champion):
        raise AirflowSkipException(
            f"version {serving.version if serving else 'none'} was promoted since this run began, and the candidate was compared with {f'version {p.champion.version}' if p.champion else 'the base model'}: "
            f"train again to compare, or promote version {number} by hand (text2sql_promote)"
        )
    serve_version(p, version, "approved by a person" if p.promote == "ask" else "passed the gate", p.run_id)
    Record.of(p.key).put("state", {"promoted": number})
    return number


def serve_version(site: Site, version: versions.Version, why: str, by: str) -> None:
    """Serve a registered version under the public name, and write it into the journal; the chain's promotion, a person's, and a rollback are this."""
    hook = ServingHook(site, version.dtype)
    was = versions.champion(site.cluster_name)
    status = hook.switch(version.merged_path)
    versions.promote(version, why, by)
    log.info(
        "[%s] version %d is served as %s at %s (ready after %s s; version %s answered its last request after %s s)",
        hook.host.name,
        version.number,
        hook.settings.model_name,
        status["api"],
        status["ready_after"],
        was.version if was else "none",
        status["drained_after"],
    )
    mlflow_mirror.tell(mlflow_mirror.ALIAS, version)
    flush_mlflow()


def choose_version() -> dict[str, Any]:
    """The version that the form of text2sql_promote names, or the one that served before; checked before anything is touched."""
    context = get_current_context()
    form = context["params"]
    try:
        cluster = load_cluster(form["cluster"])
        chosen = (
            versions.version(form["cluster"], form["version"])
            if form["version"]
            else versions.before(form["cluster"])
        )
    except (ConfigError, RegistryError) as e:
        raise AirflowFailException(str(e)) from e
    assert isinstance(cluster, Cluster)
    serving = versions.champion(form["cluster"])
    log.info(
        "version %d of %s, by %s: %s, %s; version %s serves now",
        chosen.number,
        chosen.cluster,
        chosen.run_id,
        chosen.lineage["score"],
        chosen.lineage["verdict"],
        serving.version if serving else "none",
    )
    what = (
        f"promoted by hand ({form['reason']})"
        if form["version"]
        else f"rolled back by hand ({form['reason']})"
    )
    return {
        "site": Site(cluster_name=form["cluster"], cluster=cluster, code_version=node.bundle()[0]).model_dump(
            mode="json"
        ),
        "version": chosen.number,
        "why": what,
    }


def serve_chosen(chosen: dict[str, Any]) -> int:
    """Serve what `choose_version` found."""
    site = Site.model_validate(chosen["site"])
    asyncio.run(node.push(site, site.cluster.host(site.cluster.serving.host)))
    serve_version(
        site,
        versions.version(site.cluster_name, chosen["version"]),
        chosen["why"],
        get_current_context()["dag_run"].run_id,
    )
    return chosen["version"]
