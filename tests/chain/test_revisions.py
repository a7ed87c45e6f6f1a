"""Revisions in a real Airflow on PostgreSQL: each commit of a branch has one run, whatever is killed."""

from __future__ import annotations

import json
import random
import re
import statistics
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Locator, Page, expect

from sqltune.records import database, revisions
from sqltune.records.revisions import Feed
from sqltune.ui.webhook import BODY_LIMIT
from tests.browser import log_in
from tests.chain.revisions_airflow import DAG, RECIPE, REPO, RevisionsAirflow, revisions_airflow
from tests.changing_hub import ChangingHub
from tests.conftest import ROOT, serving
from tests.databases import Postgres, running_postgres
from tests.sqltune.alerts.services import Services, http_server
from tests.waiting import wait_until

pytestmark = pytest.mark.slow
FEED = Feed("lab", RECIPE, REPO)
EACH = {"policy": "each", "quiet_period": 0}
WEBHOOK_SECRET = "secret of the hub's webhook"


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
    with revisions_airflow(tmp_path, postgres, hub, EACH) as started:
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


@pytest.fixture(scope="module")
def alerted() -> Iterator[Services]:
    """Who is told by the alerts of `announced`."""
    services = Services()
    with http_server(services) as services.port:
        yield services


@pytest.fixture(scope="module")
def announced(postgres: Postgres, alerted: Services, tmp_path_factory) -> Iterator[RevisionsAirflow]:
    """An Airflow that looks at its hub once an hour, or when the hub's webhook says so.

    Of the five commits that were there, the fifth is trained.
    """
    hub = ChangingHub(REPO)
    hub.push("first", "second", "third", "fourth", "fifth")
    alerts = {"conn_type": "apprise", "extra": {"config": [{"path": f"json://127.0.0.1:{alerted.port}"}]}}
    settings = {
        "SQLTUNE_WATCH_SECONDS": "3600",
        "SQLTUNE_WEBHOOK_SECRET": WEBHOOK_SECRET,
        "AIRFLOW_CONN_SQLTUNE_ALERTS": json.dumps(alerts),
    }
    with serving(hub) as hub.url, pytest.MonkeyPatch.context() as patch:
        home = tmp_path_factory.mktemp("announced")
        with revisions_airflow(home, postgres, hub, EACH, **settings) as started:
            patch.setenv("SQLTUNE_DATABASE_URL", started.components.env["SQLTUNE_DATABASE_URL"])
            wait_for_runs(started, commits(hub, 4))
            yield started
            database.close()


def backfill_dialog(page: Page, airflow: RevisionsAirflow, how: str) -> Locator:
    """Airflow's dialog for a backfill, filled in for the day of all commits."""
    page.goto(f"{airflow.url}/dags/{DAG}")
    page.get_by_test_id("trigger-dag-button").click()
    heading = page.get_by_role("heading", name=DAG)
    dialog = page.get_by_role("dialog").filter(has=heading)
    dialog.get_by_text("Backfill", exact=True).click()
    for bound in ("From", "To"):
        field = dialog.get_by_role("group").filter(has_text=re.compile(f"^{bound}"))
        field.get_by_test_id("datetime-input").click()
        page.get_by_placeholder("YYYY/MM/DD").fill("2026/11/01")
        heading.click()
        expect(page.get_by_placeholder("YYYY/MM/DD")).to_be_hidden()
    dialog.get_by_text(how, exact=True).click()
    return dialog


def backfill(page: Page, airflow: RevisionsAirflow, how: str, runs: int) -> list[dict[str, object]]:
    """Run a backfill by Airflow's page, which announces a number of runs; its runs, once all have ended."""
    before = {run["dag_run_id"] for run in airflow.runs()}
    dialog = backfill_dialog(page, airflow, how)
    expect(dialog.get_by_text(f"{runs} runs will be triggered.")).to_be_visible()
    dialog.get_by_role("button", name="Run Backfill").click()
    expect(page.get_by_text("Backfill in progress")).to_be_visible()
    wait_until(
        lambda: all(b["completed_at"] for b in airflow.api.get("/backfills", dag_id=DAG)["backfills"]), 300
    )
    return [run for run in airflow.runs() if run["dag_run_id"] not in before]


@pytest.fixture
def two_trained(announced: RevisionsAirflow) -> RevisionsAirflow:
    """The same Airflow, whose second commit is trained, too."""
    second = commits(announced.hub)[1]
    if second not in announced.successful():
        chosen = {"logical_date": None, "partition_key": second}
        announced.api.call("POST", f"/dags/{DAG}/dagRuns", json=chosen).raise_for_status()
        wait_for_runs(announced, [second])
    return announced


@pytest.mark.chaos
def test_a_backfill_in_airflows_page_announces_and_makes_the_runs_that_are_missing(two_trained, open_page):
    announced, page = two_trained, open_page(locale="en-US")
    page.goto(announced.url)
    for name in ("Username", "Password"):
        page.get_by_role("textbox", name=name).fill("admin")
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(f"{announced.url}/")
    first, second, third, fourth, fifth = commits(announced.hub, 0, 5)

    made = backfill(page, announced, "Missing Runs", runs=3)
    assert [run["partition_key"] for run in made] == [first, third, fourth]
    again = backfill(page, announced, "All Runs", runs=5)
    assert [run["partition_key"] for run in again] == [first, second, third, fourth, fifth]
    for run in made + again:
        assert (run["run_type"], run["state"]) == ("backfill", "success")
        assert run["partition_key"][:12] in run["dag_run_id"]
    # One after the other, the oldest first.
    for earlier, later in zip(made + again, [*made, *again][1:], strict=False):
        assert earlier["end_date"] <= later["start_date"]


@pytest.mark.pictures
def test_picture_of_a_backfill(two_trained, open_page):
    page = open_page(locale="en-US", viewport={"width": 1280, "height": 760})
    log_in(page, two_trained.url, two_trained.api.token)
    dialog = backfill_dialog(page, two_trained, "Missing Runs")
    expect(dialog.get_by_text("runs will be triggered.")).to_be_visible()
    page.screenshot(path=ROOT / "docs/page/backfill-en-light.png", animations="disabled")


def announce(url: str, client: httpx.Client, **changes: object) -> httpx.Response:
    """Send the hub's message that main was pushed to."""
    message = {
        "event": {"action": "update", "scope": "repo.content"},
        "repo": {"type": "dataset", "name": REPO},
        "updatedRefs": [{"ref": "refs/heads/main", "oldSha": "a" * 40, "newSha": "b" * 40}],
    }
    headers = {"X-Webhook-Secret": WEBHOOK_SECRET}
    request = {"json": message, "headers": headers} | changes
    return client.post(f"{url}/sqltune/hooks/v1/hub", **request)


def test_a_push_that_the_hub_announces_ten_times_has_one_run_within_seconds(announced, alerted):
    hub, url = announced.hub, announced.url
    with httpx.Client(timeout=60, trust_env=False) as client:
        refused = [
            announce(url, client, headers={"X-Webhook-Secret": "another"}).status_code,
            announce(url, client, headers={}).status_code,
            announce(url, client, content=b" " * (BODY_LIMIT + 1), json=None).status_code,
        ]
        assert refused == [401, 401, 413]
        other = announce(url, client, json={"repo": {"type": "dataset", "name": "team/other"}})
        assert other.json()["accepted"] is False
        asked = len(hub.paths)
        hub.push("announced")
        (newest,) = commits(hub, -1)

        def timed(_: int) -> float:
            begun = time.perf_counter()
            assert announce(url, client).json()["accepted"] is True
            return time.perf_counter() - begun

        pushed = time.monotonic()
        took = [timed(n) for n in range(5)]
        with ThreadPoolExecutor(5) as pool:
            took += pool.map(timed, range(5))
    # The watcher looks once an hour: it was the webhook.
    wait_for_runs(announced, [newest])
    seconds = time.monotonic() - pushed
    print(f"answers: {statistics.median(took):.4f} to {max(took):.4f} s; the run ended after {seconds:.1f} s")
    # The ten messages are a look or two; `plan` looks once more.
    assert Counter(hub.paths[asked:])["refs"] <= 4
    (run,) = [run for run in announced.runs() if run["partition_key"] == newest]
    assert (run["run_type"], newest[:12] in run["dag_run_id"]) == ("scheduled", True)
    (alert,) = wait_until(lambda: [r for r in alerted.received if run["dag_run_id"] in r.body["message"]], 60)
    assert alert.body["title"] == "[sqltune] new model held back"
    assert "Rules not met: min_gain: 0.0 points" in alert.body["message"]
