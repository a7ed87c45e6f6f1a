"""Registered versions, the champion, and what was served when. `mlflow_mirror` copies all of it to MLflow."""

from __future__ import annotations

import sys
from contextlib import suppress
from datetime import datetime

from sqltune.config.loading import cluster_names
from sqltune.config.plan import RunPlan
from sqltune.errors import RegistryError
from sqltune.records import promotions
from sqltune.records import versions as registered
from sqltune.records.promotions import Promotion, champion, history, promote, served_at
from sqltune.records.versions import Version, register

__all__ = [
    "Promotion",
    "Version",
    "before",
    "champion",
    "history",
    "list_versions",
    "main",
    "other_champion",
    "promote",
    "register",
    "served_at",
    "served_runs",
    "version",
    "versions",
]


def versions(cluster: str) -> list[Version]:
    """A cluster's versions, oldest first."""
    return registered.of_cluster(cluster)


def version(cluster: str, number: int) -> Version:
    """One version.

    Raises:
        RegistryError: The cluster has no such version; the message lists those it has.
    """
    registered_version = registered.find(cluster, number)
    if registered_version is None:
        numbers = ", ".join(str(v.number) for v in versions(cluster))
        remedy = "choose one of them" if numbers else "run text2sql_retrain first"
        raise RegistryError(
            f"version: {number} is not registered for {cluster} (registered: {numbers or 'none'}): {remedy}"
        )
    return registered_version


def before(cluster: str) -> Version:
    """The version that was served before the champion.

    Raises:
        RegistryError: No other version was served before.
    """
    serving = champion(cluster)
    earlier = [p.version for p in history(cluster) if serving is None or p.version != serving.version]
    if serving is None or not earlier:
        raise RegistryError(
            f"version: no other version was served on {cluster} before "
            f"{f'version {serving.version}' if serving else 'now'}: there is nothing to roll back to; "
            "name a version"
        )
    return version(cluster, earlier[-1])


def other_champion(plan: RunPlan, version: Version) -> str | None:
    """Why a run may not promote its candidate any more; None where it may.

    The verdict compares with the champion that the run began with; a retry finds its own promotion.

    Args:
        plan: The run's plan.
        version: Its candidate.
    """
    current = champion(plan.cluster_name)
    if current in (plan.champion, version.champion):
        return None
    compared = f"version {plan.champion.version}" if plan.champion else "the base model"
    return (
        f"version {current.version if current else 'none'} was promoted since this run began, and the "
        f"candidate was compared with {compared}: train again to compare, or promote version "
        f"{version.number} by hand (text2sql_promote)"
    )


def served_runs(cluster: str) -> set[str]:
    """Keys of the runs that trained the champion and the version that was served before it."""
    served = {champion(cluster)}
    with suppress(RegistryError):
        served.add(before(cluster).champion)
    return {v.run_key for v in versions(cluster) if v.champion in served}


def main(cluster: str, at: str | None) -> int:
    """Print what was served at a given time, or every promotion; return the exit status."""
    if at is None:
        promoted = history(cluster)
        for promotion in promoted:
            print(_line(promotion))
        if not promoted:
            print(f"nothing was served on {cluster} so far{_clusters()}", file=sys.stderr)
        return 0
    try:
        moment = datetime.fromisoformat(at)
    except ValueError:
        print(
            f"--at: {at!r} is not a date and time: write it as 2026-11-24 14:03 (local time) "
            "or with a UTC offset",
            file=sys.stderr,
        )
        return 2
    in_force = promotions.served_at(cluster, moment.astimezone())
    print(_line(in_force) if in_force else f"nothing was served on {cluster} at that time")
    return 0 if in_force else 1


def list_versions(cluster: str) -> int:
    """Print every version, oldest first, with its score and verdict; the champion is marked."""
    serving, registered_versions = champion(cluster), versions(cluster)
    if not registered_versions:
        print(f"no version is registered for {cluster}{_clusters()}", file=sys.stderr)
    for v in registered_versions:
        mark = "*" if v.champion == serving else " "
        print(
            f"{mark} {v.number:>4}  {v.registered_at.isoformat(timespec='seconds')}  {v.lineage['score']}  "
            f"{v.lineage['dataset_repo']}@{v.lineage['dataset_commit'][:12]}  {v.lineage['verdict']}"
        )
    return 0


def _clusters() -> str:
    """Which clusters there are: a name may be mistyped."""
    return f" (cluster files: {', '.join(cluster_names())})"


def _line(promotion: Promotion) -> str:
    score, repo, commit = (promotion.lineage.get(k, "") for k in ("score", "dataset_repo", "dataset_commit"))
    return (
        f"{promotion.at.isoformat(timespec='seconds')}  version {promotion.version}  {score}  "
        f"{repo}@{commit[:12]}  {promotion.why}, by {promotion.by}"
    )
