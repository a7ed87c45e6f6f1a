"""Registered versions for tests that need some."""

from __future__ import annotations

from collections.abc import Mapping

from sqltune.records import versions
from sqltune.records.versions import Version


def registered(run: str, cluster: str = "lab", lineage: Mapping[str, str] | None = None) -> Version:
    """Register the candidate of a run; its path and hash are named after the run."""
    return versions.register(
        cluster,
        run,
        run_key=run,
        host="host-a",
        merged_path=f"/home/{run}/merged",
        model_hash=f"hash-{run}",
        dtype="bfloat16",
        lineage=dict(lineage or {}),
    )
