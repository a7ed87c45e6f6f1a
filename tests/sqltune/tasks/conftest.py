"""A plan of the lab's cluster, and what tasks hand one another."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from sqltune.records import runs
from sqltune.tasks.planning import make_plan


@pytest.fixture
def plan(hub, records, monkeypatch):
    monkeypatch.setenv("SQLTUNE_LAB_HUB", hub)
    made = make_plan({}, "manual__1", datetime(2026, 11, 1, tzinfo=UTC), "code1")
    runs.put_plan(made)
    return made.model_dump(mode="json")
