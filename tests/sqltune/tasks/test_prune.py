"""What is kept of which runs."""

from __future__ import annotations

import pytest

from sqltune.config.plan import RunPlan
from sqltune.records import runs
from sqltune.registry import versions
from sqltune.tasks import prune
from tests.versions import registered


@pytest.fixture
def request_(plan, records):
    """Eight versions, the first two of which were promoted; `keep` of the lab's cluster."""
    p = RunPlan.model_validate(plan)
    for number in range(1, 9):
        run = f"r{number}"
        registered(run)
        runs.put_plan(p.model_copy(update={"run_id": run}))
    for number in (1, 2):
        versions.promote(versions.version("lab", number), "gate", "r")
    keep = p.cluster.keep.model_copy(update={"merged_models": 5, "checkpoints": 3})
    cluster = p.cluster.model_copy(update={"keep": keep})
    return prune.retention(p.model_copy(update={"cluster": cluster, "run_id": "r8"}))


def test_the_champion_and_the_one_before_are_never_pruned(request_):
    assert request_.merged == ["r1", "r2", "r4", "r5", "r6", "r7", "r8"]


def test_the_newest_runs_keep_their_checkpoints(request_):
    assert request_.checkpoints == ["r6", "r7", "r8"]


def test_every_recorded_run_is_known(request_):
    assert request_.known == ["manual__1", *(f"r{number}" for number in range(1, 9))]


def test_the_run_of_a_version_that_version_01_registered_is_known(plan, records):
    """Its run is not in the database; its model may be removed all the same once it is old enough."""
    registered("old")
    assert "old" in prune.retention(RunPlan.model_validate(plan)).known
