"""Versions, the champion, and a journal of what was served when."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqltune.config import Champion
from sqltune.records import append_line, home, read_json, write_json


def champion(cluster_name: str) -> Champion | None:
    """The model that is served on a cluster now, or None before the first promotion."""
    found = read_json(home() / f"champion-{cluster_name}.json")
    return Champion.model_validate(found) if found else None


def next_version(cluster_name: str) -> int:
    """The number the next promoted model gets, from 1."""
    now = champion(cluster_name)
    return now.version + 1 if now else 1


def promote(cluster_name: str, candidate: Champion, lineage: dict[str, Any]) -> None:
    """Remember a new champion, and write the journal's line: what, from which data, with which score."""
    before = champion(cluster_name)
    write_json(home() / f"champion-{cluster_name}.json", candidate.model_dump())
    append_line(home() / "journal.jsonl", {
        "at": datetime.now(UTC).isoformat(timespec="seconds"), "cluster": cluster_name,
        "champion": candidate.model_dump(), "before": before and before.model_dump(), **lineage,
    })
