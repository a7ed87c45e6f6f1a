"""Brings into the database what version 0.1 kept in files: its name, versions, and what was served when.

    <folder>/registry/<cluster>/<number>.json    a version
    <folder>/journal.jsonl                       promotions
    <folder>/champion-<cluster>.json             what is served
    <folder>/outbox/<nanoseconds>-<what>.json    changes that MLflow has not received yet
    <folder>/installation                        the installation's name, which marks work folders on hosts

Single answers, losses and logs of earlier runs stay in their files.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from sqltune.records import database
from sqltune.records.models import Installation, MlflowMessage, Promotion, Version
from sqltune.records.types import from_timestamp


def import_files(folder: Path) -> dict[str, tuple[int, int]]:
    """Import the name and each cluster that the database does not have; a second import changes nothing.

    Args:
        folder: SQLTUNE_HOME of version 0.1.

    Returns:
        Number of versions and of promotions, by cluster.
    """
    clusters = {path.name for path in folder.glob("registry/*")}
    clusters |= {path.stem.removeprefix("champion-") for path in folder.glob("champion-*.json")}
    imported: dict[str, tuple[int, int]] = {}
    _import_installation(folder / "installation")
    for cluster in sorted(clusters):
        with database.writing() as session:
            if not _is_known(session, cluster):
                imported[cluster] = _import_cluster(session, folder, cluster)
    return imported


def _import_installation(path: Path) -> None:
    if path.exists():
        row = {"id": 1, "name": path.read_text("utf-8").strip()}
        with database.writing() as session:
            database.upsert(session, Installation, [row], keys=["id"], update=False)


def _is_known(session: Session, cluster: str) -> bool:
    return any(
        session.scalar(select(t.id).where(t.cluster == cluster).limit(1)) for t in (Version, Promotion)
    )


def _import_cluster(session: Session, folder: Path, cluster: str) -> tuple[int, int]:
    versions = [json.loads(path.read_text("utf-8")) for path in folder.glob(f"registry/{cluster}/*.json")]
    versions.sort(key=lambda version: version["number"])
    for version in versions:
        registered_at = datetime.fromisoformat(version["registered_at"])
        session.add(Version(**version | {"registered_at": registered_at}))
    promotions = _promotions(folder, cluster, {version["number"]: version for version in versions})
    for number, promotion in enumerate(promotions, 1):
        session.add(Promotion(cluster=cluster, number=number, **promotion))
    session.add_all(_messages(folder, cluster))
    return len(versions), len(promotions)


def _promotions(folder: Path, cluster: str, versions: Mapping[int, Any]) -> list[dict[str, Any]]:
    journal = folder / "journal.jsonl"
    lines = journal.read_text("utf-8").splitlines() if journal.exists() else []
    entries = [
        entry for entry in map(json.loads, lines) if entry["cluster"] == cluster and "version" in entry
    ]
    promotions = [
        {
            "at": datetime.fromisoformat(entry["at"]),
            "version": entry["version"],
            "before": entry["before"],
            "merged_path": versions.get(entry["version"], {}).get("merged_path", ""),
            "model_hash": entry["model_hash"],
            "why": entry["why"],
            "by": entry["by"],
            "run_id": entry["run_id"],
            "lineage": versions.get(entry["version"], {}).get("lineage") or _lineage(entry),
        }
        for entry in entries
    ]
    return [*promotions, *_unrecorded_champion(folder / f"champion-{cluster}.json", promotions)]


def _lineage(entry: Mapping[str, Any]) -> dict[str, str]:
    """What the journal itself says of a version; enough for `sqltune served`."""
    return {k: entry[k] for k in ("dataset_repo", "dataset_commit", "score", "base_model") if k in entry}


def _messages(folder: Path, cluster: str) -> Iterator[MlflowMessage]:
    """Changes of a cluster that MLflow has not received yet, oldest first."""
    for path in sorted(folder.glob("outbox/*.json")):
        message = json.loads(path.read_text("utf-8"))
        if message["cluster"] == cluster:
            nanoseconds = int(path.name.partition("-")[0])
            yield MlflowMessage(**message, created_at=from_timestamp(nanoseconds / 1e9))


def _unrecorded_champion(path: Path, promotions: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What is served, if the journal does not say so: it was promoted before there was one."""
    if not path.exists():
        return []
    champion = json.loads(path.read_text("utf-8"))
    last = promotions[-1] if promotions else None
    # The journal has no path; where a version's file is missing, the champion's own file still names it.
    if last and all(last[name] == champion[name] for name in ("version", "model_hash", "merged_path")):
        return []
    return [
        {
            "at": datetime.fromtimestamp(path.stat().st_mtime, UTC),
            "version": champion["version"],
            "before": last["version"] if last else None,
            "merged_path": champion["merged_path"],
            "model_hash": champion["model_hash"],
            "why": f"found in {path.name}",
            "by": "sqltune migrate",
            "run_id": "",
            "lineage": {},
        }
    ]
