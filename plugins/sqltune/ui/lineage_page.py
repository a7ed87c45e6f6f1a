"""From the data to what served when."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from sqltune.config.plan import StartAdapter
from sqltune.records import checkups, promotions, runs, versions
from sqltune.records.versions import Version
from sqltune.registry import mlflow_mirror
from sqltune.ui.addresses import public_address
from sqltune.ui.errors import NotRecorded
from sqltune.ui.gang_contracts import Lineage, LineageStep, Served, Stage

Step = tuple[Stage, str, str | None, str | None]
"""Stage, name, hash and address."""


def lineage(key: str) -> Lineage:
    """Return what a run's version was made from, as far as the run has come, and when it served.

    Raises:
        NotRecorded: The run is not in the records.
    """
    summary, plan = runs.summary(key), runs.plan(key)
    if summary is None or plan is None:
        raise NotRecorded(f"run {key!r} is not in the records")
    version = versions.find(summary.cluster, summary.version) if summary.version else None
    return Lineage(steps=_steps(key, plan, version), served=_served(version) if version else [])


def _steps(key: str, plan: dict[str, Any], version: Version | None) -> list[LineageStep]:
    known = version.lineage if version else {}
    repo, commit = plan["dataset_repo"], plan["dataset_commit"]
    base_model = next((found.facts.base_model_hash for found in checkups.of_run(key)), None)
    steps: list[Step] = [
        ("dataset", repo, commit, _dataset_address(plan)),
        ("split", _split(plan), known.get("split_hash"), None),
        ("base_model", plan["base_model"], known.get("base_model_hash") or base_model, None),
        *_start(StartAdapter.model_validate(plan["start"]) if plan.get("start") else None),
        ("checkpoint", known.get("checkpoint", ""), known.get("checkpoint_hash"), None),
        ("adapter", known.get("adapter", ""), known.get("adapter_hash"), None),
        ("merged", version.merged_path if version else "", version.model_hash if version else None, None),
        ("version", str(version.number) if version else "", None, _model_address(plan) if version else None),
    ]
    return [
        LineageStep(stage=stage, name=name, hash=digest or None, url=url)
        for stage, name, digest, url in steps
    ]


def _start(adapter: StartAdapter | None) -> list[Step]:
    """The adapter that training went on from, where it did."""
    if adapter is None:
        return []
    return [("start_adapter", f"version {adapter.version}: {adapter.path}", adapter.digest, None)]


def _split(plan: dict[str, Any]) -> str:
    return f"{plan['recipe'].get('held_out_percent', 0)} % of the databases held out"


def _served(version: Version) -> list[Served]:
    times = promotions.served_times(version.cluster, version.number)
    return [Served(since=time.at, until=time.until, why=time.why, by=time.by) for time in times]


def _dataset_address(plan: dict[str, Any]) -> str | None:
    hub = public_address(plan["cluster"].get("hub_endpoint", ""))
    return hub and f"{hub}/datasets/{quote(plan['dataset_repo'])}/tree/{quote(plan['dataset_commit'])}"


def _model_address(plan: dict[str, Any]) -> str | None:
    mlflow = public_address(mlflow_mirror.uri() or "")
    return mlflow and f"{mlflow}/#/models/{quote(mlflow_mirror.model_name(plan['cluster_name']))}"
