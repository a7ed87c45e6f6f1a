"""Revisions in a real Airflow on PostgreSQL: each commit of a branch has one run, whatever is killed."""

from __future__ import annotations

import random
import time
from collections import Counter
from pathlib import Path

import pytest

from sqltune.records import database, revisions
from sqltune.records.revisions import Feed
from tests.chain.revisions_airflow import DAG, RECIPE, REPO, RevisionsAirflow, revisions_airflow
from tests.changing_hub import ChangingHub
from tests.conftest import serving
from tests.databases import running_postgres
from tests.waiting import wait_until

pytestmark = pytest.mark.slow
FEED = Feed("lab", RECIPE, REPO)


@pytest.fixture(scope="module")
def postgres():
    with running_postgres() as server:
        yield server


@pytest.fixture
def hub():
    served = ChangingHub(REPO)
    served.push("first", "second", "third")
    with serving(served) as url:
        served.url = url
        yield served


@pytest.fixture
def airflow(postgres, hub, tmp_path: Path, monkeypatch):
    policy = {"policy": "each", "quiet_period": 0}
    with revisions_airflow(tmp_path, postgres, hub, policy) as started:
        monkeypatch.setenv("SQLTUNE_DATABASE_URL", started.components.env["SQLTUNE_DATABASE_URL"])
        yield started
        database.close()


def commits(hub: ChangingHub, first: int = 0, last: int | None = None) -> list[str]:
    return [commit.sha for commit in hub.commits[first:last]]


def wait_for_runs(airflow: RevisionsAirflow, expected: list[str], seconds: float = 400) -> None:
    """Wait until each of these commits has a run that succeeded."""
    wait_until(
        lambda: set(airflow.successful()) >= set(expected),
        seconds,
        lambda: (
            [(r["dag_run_id"], r["state"]) for r in airflow.runs()],
            [(r.commit[:7], r.state.value, r.run_id) for r in revisions.listed(FEED)],
            airflow.log("scheduler"),
            airflow.log("dag-processor"),
        ),
    )


def test_commits_are_trained_once_in_order_and_a_backfill_takes_up_the_others(airflow, hub):
    # The newest that is there waits, and the two before it do not.
    wait_for_runs(airflow, commits(hub, 2))
    hub.push("fourth", "fifth")
    wait_for_runs(airflow, commits(hub, 2))
    assert [run["partition_key"] for run in airflow.runs()] == commits(hub, 2)
    for run in airflow.runs():
        assert run["partition_key"][:12] in run["dag_run_id"]
        assert run["run_type"] == "scheduled"

    day = {"from_date": "2026-11-01", "to_date": "2026-11-01"}
    listed = airflow.api.call(
        "POST",
        "/backfills/dry_run",
        json={"dag_id": DAG, **{k: f"{v}T00:00:00Z" for k, v in day.items()}, "max_active_runs": 1},
    ).json()
    assert [item["partition_key"] for item in listed["backfills"]] == commits(hub, 0, 2)

    airflow.components.command(
        "backfill", "create", "--dag-id", DAG, "--from-date", day["from_date"], "--to-date", day["to_date"]
    )
    wait_for_runs(airflow, commits(hub))
    backfilled = airflow.runs(run_type="backfill")
    assert [run["partition_key"] for run in backfilled] == commits(hub, 0, 2)
    assert all(run["partition_key"][:12] in run["dag_run_id"] for run in backfilled)
    # Nothing ran beside the backfill.
    assert len(airflow.runs()) == 5
    # Airflow runs one backfill of a DAG at a time, and sees after a while that this one has ended.
    wait_until(
        lambda: all(b["completed_at"] for b in airflow.api.get("/backfills", dag_id=DAG)["backfills"]), 120
    )

    airflow.components.command(
        *("backfill", "create", "--dag-id", DAG, "--reprocess-behavior", "completed"),
        *("--from-date", "2026-11-01T00:03:00", "--to-date", "2026-11-01T00:03:00"),
    )
    fourth = commits(hub, 3, 4)
    wait_until(lambda: airflow.successful().count(fourth[0]) == 2, 120)
    again = [run for run in airflow.runs() if run["partition_key"] == fourth[0]][-1]
    tasks = {t["task_id"]: t["state"] for t in airflow.api.tasks(DAG, again["dag_run_id"])}
    assert tasks == {"plan": "success", "gate": "success"}


def kill_at_random(airflow: RevisionsAirflow, hub: ChangingHub, kills: int, seed: int) -> Counter[str]:
    """Kill components at random moments, while commits arrive."""
    chance = random.Random(seed)
    killed: Counter[str] = Counter()
    alive_since = dict.fromkeys(("triggerer", "scheduler", "dag-processor"), time.monotonic())
    while killed.total() < kills:
        name = chance.choice(list(alive_since))
        # From the middle of its start to well into its work.
        moment = alive_since[name] + chance.uniform(2, 20 if name == "scheduler" else 9)
        time.sleep(max(0.0, moment - time.monotonic()))
        airflow.components.kill(name)
        killed[name] += 1
        airflow.components.start(name)
        alive_since[name] = time.monotonic()
        if chance.random() < 0.25:
            hub.push(*(f"commit {len(hub.commits) + n}" for n in range(chance.randint(1, 3))))
    return killed


def assert_each_once(airflow: RevisionsAirflow, hub: ChangingHub) -> None:
    """Every commit from the third on has exactly one run; in the records, each was claimed by it."""
    expected = commits(hub, 2)
    wait_for_runs(airflow, expected, 900)
    assert Counter(run["partition_key"] for run in airflow.runs()) == Counter(expected)
    recorded = {r.commit: r for r in revisions.listed(FEED)}
    assert list(recorded) == commits(hub)
    for run in airflow.runs():
        assert recorded[run["partition_key"]].run_id == run["dag_run_id"]
        assert recorded[run["partition_key"]].is_trained


@pytest.mark.chaos
def test_a_few_kills_lose_no_commit_and_train_none_twice(airflow, hub):
    wait_for_runs(airflow, commits(hub, 2))
    killed = kill_at_random(airflow, hub, kills=6, seed=7)
    hub.push("last")
    assert killed.total() == 6
    assert_each_once(airflow, hub)


@pytest.mark.chaos
@pytest.mark.timeout(5400)
def test_two_hundred_kills_lose_no_commit_and_train_none_twice(airflow, hub):
    wait_for_runs(airflow, commits(hub, 2))
    killed = kill_at_random(airflow, hub, kills=200, seed=20261129)
    hub.push("last")
    assert_each_once(airflow, hub)
    print(f"{dict(killed)}; {len(hub.commits) - 3} commits arrived meanwhile")
