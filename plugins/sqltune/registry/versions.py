"""Versions, the champion, and a journal of what was served when.

    python -m sqltune.registry.versions [--cluster NAME] [--at "2026-11-24 14:03" | --versions]

What decides is kept in files beside the records, so that training and serving need no other service; MLflow is told of all of it (`mlflow_registry`).

    $SQLTUNE_HOME/registry/<cluster>/<number>.json     a version: where its model is, and where it comes from
    $SQLTUNE_HOME/champion-<cluster>.json              what is served
    $SQLTUNE_HOME/journal.jsonl                        what was served from when on; only ever added to
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
    """One trained candidate: where its model is, and where it comes from."""

    number: int = Field(description="Counts the candidates of a cluster, from 1.")
    cluster: str
    run_id: str = Field(description="The Airflow run that trained it.")
    run_key: str = Field(description="The run's record.")
    registered_at: str = Field(description="ISO 8601, UTC.")
    host: str = Field(description="The host that holds the merged model.")
    merged_path: str
    model_hash: str
    dtype: str = Field(description="Type of the served weights.")
    lineage: dict[str, str] = Field(
        description="Data, plan, code, versions, hashes, scores, verdict, hours: what MLflow has as tags."
    )

    @property
    def champion(self) -> Champion:
        """This version as what is served."""
        return Champion(version=self.number, merged_path=self.merged_path, model_hash=self.model_hash)


@contextmanager
def locked(what: str = "registry") -> Iterator[None]:
    """One writer at a time, on whatever worker."""
    home().mkdir(parents=True, exist_ok=True)
    with (home() / f".{what}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _folder(cluster: str) -> Path:
    return home() / "registry" / cluster


def now() -> str:
    """This moment, ISO 8601, UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def versions(cluster: str) -> list[Version]:
    """A cluster's versions, oldest first."""
    found = [Version.model_validate(read_json(p)) for p in _folder(cluster).glob("*.json")]
    return sorted(found, key=lambda v: v.number)


def version(cluster: str, number: int) -> Version:
    """One version; `RegistryError` names those that there are."""
    found = {v.number: v for v in versions(cluster)}
    if number not in found:
        raise RegistryError(
            f"version: {number} is not one of {cluster}'s (there are: {', '.join(map(str, found)) or 'none'})"
        )
    return found[number]


def register(cluster: str, run_id: str, **what: Any) -> Version:
    """Keep a trained candidate; the same one when its run comes again, with what is known of it now."""
    with locked():
        there = versions(cluster)
        mine = next((v for v in there if v.run_id == run_id), None)
        # What served before there were versions had a number too.
        serving = champion(cluster)
        number = (
            mine.number if mine else max(serving.version if serving else 0, *(v.number for v in there), 0) + 1
        )
        made = Version(
            number=number,
            cluster=cluster,
            run_id=run_id,
            registered_at=mine.registered_at if mine else now(),
            **what,
        )
        write_json(_folder(cluster) / f"{number}.json", made.model_dump())
        return made


def champion(cluster: str) -> Champion | None:
    """The model that is served on a cluster now, or None before the first promotion."""
    found = read_json(home() / f"champion-{cluster}.json")
    return Champion.model_validate(found) if found else None


def journal(cluster: str) -> list[dict[str, Any]]:
    """A cluster's lines of the journal, oldest first."""
    path = home() / "journal.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return [entry for entry in map(json.loads, lines) if entry["cluster"] == cluster and "version" in entry]


def before(cluster: str) -> Version:
    """The version that served before the champion; `RegistryError` where there was none."""
    serving = champion(cluster)
    earlier = [e["version"] for e in journal(cluster) if serving is None or e["version"] != serving.version]
    if serving is None or not earlier:
        raise RegistryError(
            f"version: nothing served on {cluster} before {f'version {serving.version}' if serving else 'now'}: there is nothing to roll back to"
        )
    return version(cluster, earlier[-1])


def promote(chosen: Version, why: str, by: str) -> None:
    """Remember a new champion, and write the journal's line: what serves from now on, from which data, with which score. Promoted twice, it is there once.

    :param why: what decided: the gate, a person, a rollback.
    :param by: the run that did it.
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
    """The journal's line that held at a moment: what served, from which data, with which score; None when nothing did."""
    held = [e for e in journal(cluster) if datetime.fromisoformat(e["at"]) <= moment]
    return held[-1] if held else None


def main(cluster: str, at: str | None) -> int:
    """Print what served at a moment, or the whole journal."""
    if at is None:
        for entry in journal(cluster):
            print(_line(entry))
        return 0
    try:
        moment = datetime.fromisoformat(at)
    except ValueError:
        print(
            f"--at: {at!r} is no moment: write it as 2026-11-24 14:03 (this machine's time), or with an offset",
            file=sys.stderr,
        )
        return 2
    entry = served_at(cluster, moment.astimezone())
    print(_line(entry) if entry else f"nothing served on {cluster} then")
    return 0 if entry else 1


def list_versions(cluster: str) -> int:
    """Print every version, oldest first, with its score and verdict; the champion is marked."""
    serving = champion(cluster)
    for v in versions(cluster):
        mark = "*" if v.champion == serving else " "
        print(
            f"{mark} {v.number:>4}  {v.registered_at}  {v.lineage['score']}  {v.lineage['dataset_repo']}@{v.lineage['dataset_commit'][:12]}  {v.lineage['verdict']}"
        )
    return 0


def _line(e: dict[str, Any]) -> str:
    return f"{e['at']}  version {e['version']}  {e['score']}  {e['dataset_repo']}@{e['dataset_commit'][:12]}  {e['why']}, by {e['by']}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        prog="python -m sqltune.registry.versions", description="What serves, and what served when."
    )
    parser.add_argument("--cluster", default="lab", help="the cluster it serves on")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--at", help="a moment, such as '2026-11-24 14:03'; without it, the whole journal")
    which.add_argument("--versions", action="store_true", help="every version there is, the champion marked")
    given = parser.parse_args()
    sys.exit(list_versions(given.cluster) if given.versions else main(given.cluster, given.at))
