"""A plan of the lab's cluster, and what tasks hand one another."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from sqltune.records import runs
from sqltune.tasks import disks, retention
from sqltune.tasks.planning import make_plan


@pytest.fixture
def plan(hub, records, monkeypatch):
    monkeypatch.setenv("SQLTUNE_LAB_HUB", hub)
    made = make_plan({}, "manual__1", datetime(2026, 11, 1, tzinfo=UTC), "code1")
    runs.put_plan(made)
    return made.model_dump(mode="json")


@pytest.fixture
def variables(monkeypatch) -> dict[str, str]:
    """Airflow's Variables."""
    kept: dict[str, str] = {}

    def get(key: str, default: Any, deserialize_json: bool = False) -> Any:
        return json.loads(kept[key]) if deserialize_json and key in kept else kept.get(key, default)

    def set_(key: str, value: Any, description: str, serialize_json: bool = False) -> None:
        assert description
        kept[key] = json.dumps(value) if serialize_json else value

    fake = SimpleNamespace(get=get, set=set_)
    for module in (disks, retention):
        monkeypatch.setattr(module, "Variable", fake)
    return kept
