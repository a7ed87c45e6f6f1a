"""What becomes of a judged candidate: its number, its promotion or a rollback, and what stays on the hosts; tasks that are plain functions."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import Any

from airflow.sdk import get_current_context
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from sqltune import node
from sqltune.config import Cluster, Keep, RunPlan, Site, load
from sqltune.errors import ConfigError, RegistryError
from sqltune.evaluation import scoring
from sqltune.records.files import Record, home
from sqltune.registry import mlflow_mirror, versions
from sqltune.serving.hook import ServingHook

log = logging.getLogger(__name__)

OVERDUE = 24 * 3600.0
"""Seconds after which what MLflow was not told is a failure, and no longer a delay."""


def register(
    plan: dict[str, Any],
    facts: list[dict[str, Any]],
    trained: dict[str, Any],
    adapter: dict[str, Any],
    merged: dict[str, Any],
    verdict: dict[str, Any],
) -> int:
    """Give the candidate a number, whatever the verdict; it and where it comes from are kept, and MLflow is told as soon as it answers."""
    p = RunPlan.model_validate(plan)
    record = Record.of(p.key)
    before, after = (scoring.Score.model_validate(record.get(which)) for which in ("before", "after"))
    held = [r["name"] for r in verdict["rules"] if not r["passed"]]
    host = next(f for f in facts if f["host"] == p.cluster.serving.host)
    hours = p.cluster.world_size * trained["seconds"] / 3600
    made = versions.register(
        p.cluster_name,
        p.run_id,
        run_key=p.key,
        host=p.cluster.serving.host,
        merged_path=merged["merged_path"],
        model_hash=merged["model_hash"],
        dtype=p.recipe.serving_dtype,
        lineage={
            "score": f"{after.matched}/{after.questions}",
            "score_before": f"{before.matched}/{before.questions} ({before.model})",
            "verdict": "let through" if verdict["passed"] else f"held back: {', '.join(held)}",
            "dataset_repo": p.dataset_repo,
            "dataset_commit": p.dataset_commit,
            "dataset_date": p.dataset_date,
            "fingerprint": p.fingerprint,
            "recipe": p.recipe_name,
            "base_model": p.base_model,
            "base_model_hash": host["base_model_hash"],
            "code_version": p.code_version,
            "host_versions": " ".join(f"{k}={v}" for k, v in host["versions"].items() if v),
            "checkpoint": trained["checkpoint"],
            "checkpoint_hash": adapter["checkpoint_hash"],
            "adapter": f"{p.run_dir}/adapter",
            "merged": f"{p.run_dir}/merged",
            "model_hash": merged["model_hash"],
            "gpu_hours": f"{hours if p.cluster.accelerator != 'cpu' else 0:.3f}",
            "rank_hours": f"{hours:.3f}",
            "accelerator": p.cluster.accelerator,
        },
    )
    log.info(
        "version %d of %s: %s, %s",
        made.number,
        p.cluster_name,
        made.lineage["score"],
        made.lineage["verdict"],
    )
    mlflow_mirror.tell("version", made)
    _tell_mlflow()
    return made.number


def _tell_mlflow() -> None:
    left = mlflow_mirror.flush()
    if mlflow_mirror.uri() is None:
        log.info("MLFLOW_TRACKING_URI is not set: versions are kept in the records only")
    elif left:
        log.info("%d for MLflow wait; text2sql_housekeeping tells it", left)


def promote(plan: dict[str, Any], verdict: dict[str, Any], number: int) -> int:
    """Serve the candidate under the champion's name, and remember it; skipped when the gate or the form holds it back."""
    p = RunPlan.model_validate(plan)
    if not verdict["passed"]:
        raise AirflowSkipException(
            "held back by the gate: "
            + "; ".join(f"{r['name']}: {r['found']}" for r in verdict["rules"] if not r["passed"])
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
    serve_version(
        p, version, "approved by a person" if p.promote == "ask" else "let through by the gate", p.run_id
    )
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
    _tell_mlflow()


def choose_version() -> dict[str, Any]:
    """The version that the form of text2sql_promote names, or the one that served before; checked before anything is touched."""
    context = get_current_context()
    form = context["params"]
    try:
        cluster = load("clusters", form["cluster"])
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


def kept(cluster_name: str, keep: Keep, run_key: str) -> dict[str, list[str]]:
    """Runs that are known, those whose merged model stays (the champion's and the one's before it always), and those whose checkpoints stay."""
    there = versions.versions(cluster_name)
    serving = {versions.champion(cluster_name)}
    with contextlib.suppress(RegistryError):
        serving.add(versions.before(cluster_name).champion)
    merged = {v.run_key for v in there[-keep.merged_models :]} | {
        v.run_key for v in there if v.champion in serving
    }
    # By when something was last written there: a run that goes on beside this one is among the newest.
    runs = sorted(
        (folder for folder in (home() / "runs").iterdir() if folder.is_dir()),
        key=lambda f: max(x.stat().st_mtime for x in [f, *f.iterdir()]),
    )
    newest = {run_key} | {f.name for f in runs[-keep.checkpoints :]}
    return {
        "known": sorted(f.name for f in runs),
        "merged": sorted(merged | newest),
        "checkpoints": sorted(newest),
    }


def prune(plan: dict[str, Any], host: str) -> dict[str, Any]:
    """Remove what the cluster's `keep` does not name from one host, and say what its disk holds."""
    p = RunPlan.model_validate(plan)
    want = kept(p.cluster_name, p.cluster.keep, p.key) | {
        "runs": f"{p.cluster.work_dir}/runs",
        "work_dir": p.cluster.work_dir,
    }
    result = node.run(p, p.cluster.host(host), "retention.py", want, timeout=1800)
    log.info(
        "[%s] %.2f GiB removed (%s); disk: %s",
        host,
        result["freed_gib"],
        ", ".join(result["removed"]) or "nothing",
        ", ".join(f"{k} {v:.1f} GiB" for k, v in result["disk"].items()),
    )
    return result


def tell_mlflow() -> int:
    """Tell MLflow what it has not heard yet; how much still waits. Fails when that has waited for a day: somebody has to look."""
    _tell_mlflow()
    if mlflow_mirror.uri() and mlflow_mirror.oldest() > OVERDUE:
        raise AirflowFailException(
            f"{len(mlflow_mirror.waiting())} for MLflow at {mlflow_mirror.uri()} wait, the first for {mlflow_mirror.oldest() / 3600:.0f} h: the reason is above; nothing is lost"
        )
    return len(mlflow_mirror.waiting())
