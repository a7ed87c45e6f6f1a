"""Registered versions, the champion, and a journal of promotions.

    python -m sqltune.registry.versions [--cluster NAME] [--at "2026-11-24 14:03" | --versions]

The files below are authoritative, so that training and serving depend on no other service. `mlflow_mirror`
copies their content to MLflow.

    $SQLTUNE_HOME/registry/<cluster>/<number>.json     a version: where its model lies, and its lineage
    $SQLTUNE_HOME/champion-<cluster>.json              the version that is served
    $SQLTUNE_HOME/journal.jsonl                        promotions with their times; append-only
"""

from __future__ import annotations

import argparse
import fcntl
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import Field

from sqltune.config.plan import Champion
from sqltune.errors import RegistryError
from sqltune.records.files import append_line, home, read_json, write_json
from ssh_gang.model import Model


class Version(Model):
    """A registered candidate: where its merged model lies, and its lineage."""

    number: int = Field(description="Number of the candidate within its cluster, from 1.")
    cluster: str = Field(description="Name of the cluster file.")
    run_id: str = Field(description="The Airflow run that trained it.")
    run_key: str = Field(description="Folder name of the run's record.")
    registered_at: str = Field(description="ISO 8601, UTC.")
    host: str = Field(description="The host that holds the merged model.")
    merged_path: str = Field(description="Folder of the merged model on that host.")
    model_hash: str = Field(description="Hash of the merged model's files.")
    dtype: str = Field(description="Data type of the served weights, such as bfloat16.")
    lineage: dict[str, str] = Field(
        description="Data, plan, code, package versions, hashes, scores, verdict and hours. "
        "MLflow stores them as tags."
    )

    @property
    def champion(self) -> Champion:
        """This version as the champion."""
        return Champion(version=self.number, merged_path=self.merged_path, model_hash=self.model_hash)


@contextmanager
def locked(what: str = "registry") -> Iterator[None]:
    """Hold a file lock, so that one process at a time writes."""
    home().mkdir(parents=True, exist_ok=True)
    with (home() / f".{what}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _folder(cluster: str) -> Path:
    return home() / "registry" / cluster


def now() -> str:
    """The current time in ISO 8601, UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def versions(cluster: str) -> list[Version]:
    """A cluster's versions, oldest first."""
    registered = [Version.model_validate(read_json(p)) for p in _folder(cluster).glob("*.json")]
    return sorted(registered, key=lambda v: v.number)


def version(cluster: str, number: int) -> Version:
    """One version.

    Raises:
        RegistryError: The cluster has no such version; the message lists those it has.
    """
    registered = {v.number: v for v in versions(cluster)}
    if number not in registered:
        raise RegistryError(
            f"version: {number} is not registered for {cluster} "
            f"(registered: {', '.join(map(str, registered)) or 'none'})"
        )
    return registered[number]


def register(cluster: str, run_id: str, **fields: Any) -> Version:
    """Register a trained candidate.

    A run that registers again keeps its number and updates the other fields.
    """
    with locked():
        registered = versions(cluster)
        mine = next((v for v in registered if v.run_id == run_id), None)
        # A champion from before versions were registered has a number too.
        serving = champion(cluster)
        number = (
            mine.number
            if mine
            else max(serving.version if serving else 0, *(v.number for v in registered), 0) + 1
        )
        version = Version(
            number=number,
            cluster=cluster,
            run_id=run_id,
            registered_at=mine.registered_at if mine else now(),
            **fields,
        )
        write_json(_folder(cluster) / f"{number}.json", version.model_dump())
        return version


def champion(cluster: str) -> Champion | None:
    """The model that is served on a cluster now, or None before the first promotion."""
    content = read_json(home() / f"champion-{cluster}.json")
    return Champion.model_validate(content) if content else None


def journal(cluster: str) -> list[dict[str, Any]]:
    """A cluster's promotions, oldest first."""
    path = home() / "journal.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return [entry for entry in map(json.loads, lines) if entry["cluster"] == cluster and "version" in entry]


def before(cluster: str) -> Version:
    """The version that was served before the champion.

    Raises:
        RegistryError: No other version was served before.
    """
    serving = champion(cluster)
    earlier = [e["version"] for e in journal(cluster) if serving is None or e["version"] != serving.version]
    if serving is None or not earlier:
        raise RegistryError(
            f"version: no other version was served on {cluster} before "
            f"{f'version {serving.version}' if serving else 'now'}: there is nothing to roll back to"
        )
    return version(cluster, earlier[-1])


def promote(chosen: Version, why: str, by: str) -> None:
    """Record a new champion, and append the promotion to the journal with its data and score.

    Promoting the champion again changes nothing.

    Args:
        chosen: The version that is served from now on.
        why: What decided: the gate, a person, or a rollback.
        by: The Airflow run that promoted it.
    """
    with locked():
        serving = champion(chosen.cluster)
        if (
            serving == chosen.champion
            and (lines := journal(chosen.cluster))
            and lines[-1]["version"] == chosen.number
        ):
            return
        append_line(
            home() / "journal.jsonl",
            {
                "at": now(),
                "cluster": chosen.cluster,
                "version": chosen.number,
                "before": serving.version if serving else None,
                "why": why,
                "by": by,
                "run_id": chosen.run_id,
                "model_hash": chosen.model_hash,
                **{
                    k: chosen.lineage.get(k, "")
                    for k in ("dataset_repo", "dataset_commit", "score", "base_model")
                },
            },
        )
        write_json(home() / f"champion-{chosen.cluster}.json", chosen.champion.model_dump())


def served_at(cluster: str, moment: datetime) -> dict[str, Any] | None:
    """The promotion that was in force at a moment, with its data and score; None before the first one."""
    held = [e for e in journal(cluster) if datetime.fromisoformat(e["at"]) <= moment]
    return held[-1] if held else None


def main(cluster: str, at: str | None) -> int:
    """Print what was served at a moment, or the whole journal; return the exit status."""
    if at is None:
        for entry in journal(cluster):
            print(_line(entry))
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
    in_force = served_at(cluster, moment.astimezone())
    print(_line(in_force) if in_force else f"nothing was served on {cluster} at that time")
    return 0 if in_force else 1


def list_versions(cluster: str) -> int:
    """Print every version, oldest first, with its score and verdict; the champion is marked."""
    serving = champion(cluster)
    for v in versions(cluster):
        mark = "*" if v.champion == serving else " "
        print(
            f"{mark} {v.number:>4}  {v.registered_at}  {v.lineage['score']}  "
            f"{v.lineage['dataset_repo']}@{v.lineage['dataset_commit'][:12]}  {v.lineage['verdict']}"
        )
    return 0


def _line(e: dict[str, Any]) -> str:
    return (
        f"{e['at']}  version {e['version']}  {e['score']}  "
        f"{e['dataset_repo']}@{e['dataset_commit'][:12]}  {e['why']}, by {e['by']}"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        prog="python -m sqltune.registry.versions",
        description="The version that is served, and the history of promotions.",
    )
    parser.add_argument("--cluster", default="lab", help="the cluster that serves it")
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--at", help="a date and time, such as '2026-11-24 14:03'; without it, the whole journal"
    )
    which.add_argument("--versions", action="store_true", help="list all versions; the champion is marked")
    given = parser.parse_args()
    sys.exit(list_versions(given.cluster) if given.versions else main(given.cluster, given.at))
