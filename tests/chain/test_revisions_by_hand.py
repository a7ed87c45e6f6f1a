"""What people do while commits wait: pause, delete, look at the queue; in a real Airflow on PostgreSQL."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from sqltune.records import database, revisions
from sqltune.records.revisions import Feed, Revision
from tests.browser import browser, log_in, open_page
from tests.chain.revisions_airflow import DAG, RECIPE, REPO, RevisionsAirflow, revisions_airflow
from tests.changing_hub import ChangingHub
from tests.conftest import serving
from tests.databases import running_postgres
from tests.waiting import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.chaos]
FEED = Feed("lab", RECIPE, REPO)
WATCHER = "text2sql_revisions"

__all__ = ["browser", "open_page"]


@pytest.fixture(scope="module")
def airflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RevisionsAirflow]:
    """An Airflow that has trained the newest commit of a branch."""
    hub = ChangingHub(REPO)
    hub.push("first", "second", "third")
    home = tmp_path_factory.mktemp("airflow")
    policy: dict[str, object] = {"policy": "each", "quiet_period": 0}
    with (
        pytest.MonkeyPatch.context() as patch,
        running_postgres() as server,
        serving(hub) as hub.url,
        revisions_airflow(home, server, hub, policy) as started,
    ):
        patch.setenv("SQLTUNE_DATABASE_URL", started.components.env["SQLTUNE_DATABASE_URL"])
        wait_until_trained(started, hub.commits[-1].sha)
        yield started
        database.close()


def push(airflow: RevisionsAirflow, *titles: str) -> list[str]:
    """Push commits; their names."""
    airflow.hub.push(*titles)
    return [commit.sha for commit in airflow.hub.commits[-len(titles) :]]


def recorded(commit: str) -> Revision | None:
    return next((r for r in revisions.listed(FEED) if r.commit == commit), None)


def wait_until_trained(airflow: RevisionsAirflow, *commits: str) -> None:
    """Wait until each of the commits has a run that succeeded."""
    wait_until(
        lambda: {*airflow.successful()} >= {*commits},
        300,
        lambda: (
            [(r["dag_run_id"], r["state"]) for r in airflow.runs()],
            [(r.title, r.state.value, r.run_id) for r in revisions.listed(FEED)],
            airflow.log("scheduler"),
            airflow.log("dag-processor"),
        ),
    )


def wait_until_recorded(*commits: str) -> None:
    wait_until(lambda: all(recorded(commit) for commit in commits), 60)


def queue(page: Page) -> list[list[str]]:
    """Place, run or title, and reason of each row of the page's queue."""
    rows = page.get_by_role("region", name="Queue").get_by_role("row").all()[1:]
    cells = [row.locator("th, td").all_inner_texts() for row in rows]
    return [[row[0], row[1], row[-1]] for row in cells]


def test_the_page_shows_what_trains_and_what_waits(airflow, open_page):
    with airflow.trainings_held():
        (trained,) = push(airflow, "shown first")
        now = airflow.wait_until_trains(trained)
        by_hand = airflow.trigger(airflow.hub.commits[0].sha)
        waiting = push(airflow, "shown second", "shown third")
        wait_until_recorded(*waiting)
        page = open_page(locale="en-US")
        log_in(page, airflow.url, airflow.api.token)
        page.goto(f"{airflow.url}/plugin/text2sql-history")
        expect(page.get_by_role("region", name="Queue").get_by_role("row")).to_have_count(5)
        expect(page.get_by_role("region", name="Queue")).to_contain_text("in the task gate")
        why = f"{now} is running; Airflow runs one at a time."
        assert queue(page) == [
            ["runs now", now, "in the task gate"],
            ["1", by_hand, why],
            ["2", "shown second", why],
            ["3", "shown third", why],
        ]

        airflow.set_paused(DAG, True)
        expect(page.get_by_text("The DAG is paused: nothing starts until it is switched on.")).to_be_visible()
        airflow.set_paused(DAG, False)

        page.goto(f"{airflow.url}/dags/{DAG}/runs/{by_hand}/plugin/text2sql")
        expect(page.get_by_text(f"Place 1 in the queue: {why}")).to_be_visible()
    wait_until_trained(airflow, trained, airflow.hub.commits[0].sha, *waiting)
    page.goto(f"{airflow.url}/plugin/text2sql-history")
    expect(page.get_by_text("Nothing trains, and nothing waits.")).to_be_visible()


def test_a_commit_whose_queued_run_is_deleted_gets_another_one(airflow):
    with airflow.trainings_held():
        first, second = push(airflow, "before the queued one", "queued")
        airflow.wait_until_trains(first)
        wait_until_recorded(second)
        assert airflow.delete(airflow.trigger(second)) == 204
        assert recorded(second).state is revisions.State.WAITING
    wait_until_trained(airflow, first, second)
    assert [run["run_type"] for run in airflow.runs_of(second)] == ["scheduled"]


def test_a_commit_whose_run_is_deleted_after_its_claim_gets_another_one(airflow):
    with airflow.trainings_held():
        # By hand before the schedule does, as the schedule would give the next run the same id.
        airflow.set_paused(DAG, True)
        (commit,) = push(airflow, "claimed")
        wait_until_recorded(commit)
        run = airflow.trigger(commit)
        wait_until(lambda: airflow.api.get(f"/dags/{DAG}")["next_dagrun_run_after"] is None, 60)
        airflow.set_paused(DAG, False)
        assert airflow.wait_until_trains(commit) == run
        assert airflow.delete(run) == 409, "Airflow deletes no run that goes on"
        airflow.api.call("PATCH", f"/dags/{DAG}/dagRuns/{run}", json={"state": "failed"}).raise_for_status()
        assert recorded(commit).run_id == run
        assert airflow.delete(run) == 204
    wait_until_trained(airflow, commit)
    (another,) = airflow.runs_of(commit)
    assert another["run_type"] == "scheduled"
    assert recorded(commit).run_id == another["dag_run_id"]


def test_while_the_dag_is_paused_a_training_ends_and_nothing_follows_it(airflow):
    with airflow.trainings_held():
        first, second = push(airflow, "trains while paused", "comes while paused")
        run = airflow.wait_until_trains(first)
        airflow.set_paused(DAG, True)
    # Its trigger has seen the end; the task that is to judge it is not started.
    wait_until(lambda: airflow.gate(run) == "scheduled", 60)
    # The watcher is another DAG, and goes on; its run shows that the scheduler has looked again since.
    listings = len(airflow.api.get(f"/dags/{WATCHER}/dagRuns", state="success", limit=200)["dag_runs"])
    (third,) = push(airflow, "after the end")
    wait_until_recorded(second, third)
    wait_until(
        lambda: (
            len(airflow.api.get(f"/dags/{WATCHER}/dagRuns", state="success", limit=200)["dag_runs"])
            > listings
        ),
        60,
    )
    assert airflow.gate(run) == "scheduled"
    assert airflow.runs_of(second) + airflow.runs_of(third) == []
    airflow.set_paused(DAG, False)
    wait_until_trained(airflow, first, second, third)
    assert [len(airflow.runs_of(commit)) for commit in (first, second, third)] == [1, 1, 1]


def test_a_verdict_stands_when_its_run_is_deleted(airflow):
    (first,) = push(airflow, "deleted when it was trained")
    wait_until_trained(airflow, first)
    assert airflow.delete(airflow.runs_of(first)[0]["dag_run_id"]) == 204
    (second,) = push(airflow, "trained after the deletion")
    wait_until_trained(airflow, second)
    assert recorded(first).is_trained
    assert airflow.runs_of(first) == []


def test_commits_that_come_while_the_watcher_is_paused_are_seen_when_it_goes_on(airflow):
    airflow.set_paused(WATCHER, True)
    wait_until(lambda: is_unasked(airflow.hub, 4), 60)
    missed = push(airflow, "missed one", "missed two")
    wait_until(lambda: is_unasked(airflow.hub, 4), 60)
    assert [recorded(commit) for commit in missed] == [None, None]
    airflow.set_paused(WATCHER, False)
    wait_until_trained(airflow, *missed)
    assert [len(airflow.runs_of(commit)) for commit in missed] == [1, 1]


def is_unasked(hub: ChangingHub, seconds: float) -> bool:
    """Whether nobody asks the hub for a while; the watcher does so once a second."""
    asked, until = len(hub.paths), time.monotonic() + seconds
    while time.monotonic() < until and len(hub.paths) == asked:
        time.sleep(0.1)
    return len(hub.paths) == asked


def test_after_the_dag_was_deleted_only_what_has_no_verdict_is_trained_again(airflow):
    with airflow.trainings_held():
        (commit,) = push(airflow, "trains while the DAG is deleted")
        airflow.wait_until_trains(commit)
        # Airflow refuses while a task runs; one that is deferred does not count.
        assert airflow.api.call("DELETE", f"/dags/{DAG}").status_code == 204
        wait_until(lambda: airflow.api.call("GET", f"/dags/{DAG}").status_code == 200, 120)
    wait_until_trained(airflow, commit)
    (another,) = push(airflow, "after the deletion of the DAG")
    wait_until_trained(airflow, another)
    assert [run["partition_key"] for run in airflow.runs()] == [commit, another]
