"""What trains and what waits: what the API answers, and what the page makes of it and of Airflow."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from fastapi.testclient import TestClient
from playwright.sync_api import Page, expect

from sqltune.config.recipe import Revisions
from sqltune.config.watched import Watched
from sqltune.records import claims, revisions, runs
from sqltune.records.claims import Owner
from sqltune.records.revisions import Commit, Feed, Reading
from sqltune.ui import revisions_page
from sqltune.ui.app import create_app
from sqltune.ui.contracts import DAG_ID
from tests.plans import run_plan

FEED = Feed("lab", "lab_tiny", "team/data")
DAY = datetime(2026, 11, 1, tzinfo=UTC)
HOSTS_FREE = {"classpath": "ssh_gang.trigger.HostsFreeTrigger"}
TRAINS = {"classpath": "ssh_gang.trigger.GangTrigger"}


def watch(patch: pytest.MonkeyPatch, **policy: object) -> None:
    """Make the feed the one that is watched."""
    watched = Watched(
        cluster=FEED.cluster,
        recipe=FEED.recipe,
        dataset_repo=FEED.dataset_repo,
        branch=FEED.branch,
        hub_endpoint="http://hub",
        revisions=Revisions.model_validate(policy),
    )
    patch.setattr(revisions_page, "watched", lambda: watched)


def record_commits(letters: str = "abc") -> None:
    """Record commits; the first was there before, and the others wait."""
    commits = [Commit(c * 40, DAY + timedelta(days=n), "an author", c) for n, c in enumerate(letters)]
    revisions.observe(FEED, Reading(commits=commits[:1], read_from=None), "watcher")
    revisions.claim(FEED, commits[0].commit, "first", "f", is_partition=True, skips_older=False)
    revisions.observe(FEED, Reading(commits=commits, read_from=commits[0].commit), "watcher")


def listed() -> list[tuple[str, str]]:
    answer = TestClient(create_app()).get("/api/v1/queue").json()
    return [(c["title"], c["wait"]["reason"]) for c in answer["commits"]]


@pytest.mark.usefixtures("records")
class TestApi:
    """The answers of the API."""

    @pytest.mark.parametrize(
        ("policy", "expected"),
        [
            ({"policy": "each", "quiet_period": 0}, [("b", "turn"), ("c", "turn")]),
            ({"policy": "each", "quiet_period": 600}, [("b", "quiet"), ("c", "quiet")]),
            ({"policy": "newest", "quiet_period": 0}, [("c", "turn")]),
            ({"policy": "nightly"}, [("c", "night")]),
            ({"policy": "tagged"}, []),
        ],
    )
    def test_the_queue_has_what_the_policy_trains_in_order(self, monkeypatch, policy, expected):
        watch(monkeypatch, **policy)
        record_commits()
        assert listed() == expected

    def test_the_end_of_the_quiet_period_is_known(self, monkeypatch):
        watch(monkeypatch, policy="newest", quiet_period=600)
        record_commits()
        (commit,) = TestClient(create_app()).get("/api/v1/queue").json()["commits"]
        seen = datetime.fromisoformat(commit["first_seen"])
        assert datetime.fromisoformat(commit["wait"]["until"]) == seen + timedelta(seconds=600)

    def test_what_is_not_trained_by_itself_says_why_in_the_list_of_revisions(self, monkeypatch):
        watch(monkeypatch, policy="newest", quiet_period=0)
        record_commits()
        assert self.reasons() == {"c": "turn", "b": "replaced", "a": None}

    def test_commits_of_a_recipe_that_no_schedule_trains_are_not_queued(self, monkeypatch):
        monkeypatch.setattr(revisions_page, "watched", lambda: None)
        record_commits()
        assert listed() == []
        assert self.reasons() == {"c": "unwatched", "b": "unwatched", "a": None}

    def test_what_the_watcher_has_not_looked_at_for_long_is_left_to_the_night(self, monkeypatch):
        watch(monkeypatch, policy="each", quiet_period=0)
        record_commits()
        monkeypatch.setattr(revisions_page, "STALE", timedelta())
        assert listed() == []
        assert self.reasons() == {"c": "stale", "b": "stale", "a": None}

    def test_a_run_has_the_one_ahead_of_it(self):
        first, second = run_plan("first"), run_plan("second")
        runs.put_plan(second)
        answer = TestClient(create_app()).get("/api/v1/runs/second/turn")
        assert answer.json() == {"ahead": None}
        claims.take(second.cluster_name, Owner(DAG_ID, first.run_id))
        answer = TestClient(create_app()).get("/api/v1/runs/second/turn")
        assert answer.json() == {"ahead": {"dag_id": DAG_ID, "run_id": "first"}}

    def reasons(self) -> dict[str, str | None]:
        (feed,) = TestClient(create_app()).get("/api/v1/clusters/lab/revisions").json()["feeds"]
        return {r["title"]: r["wait"] and r["wait"]["reason"] for r in feed["revisions"]}


def run(run_id: str, minute: int = 0, **fields: Any) -> dict[str, Any]:
    """A run as Airflow lists it; queued, if nothing else is said."""
    at = (datetime(2026, 11, 29, 12, tzinfo=UTC) + timedelta(minutes=minute)).isoformat()
    known = {
        "dag_run_id": run_id,
        "state": "queued",
        "run_type": "manual",
        "triggering_user_name": "admin",
        "run_after": at,
        "queued_at": at,
        "start_date": at if fields.get("state") == "running" else None,
        "last_scheduling_decision": None,
        "partition_key": None,
    }
    return known | fields


def task(run_id: str, task_id: str, state: str, trigger: dict[str, str] | None = None) -> dict[str, Any]:
    started = "2026-11-29T12:05:00Z"
    return {
        "dag_run_id": run_id,
        "task_id": task_id,
        "map_index": -1,
        "state": state,
        "start_date": started,
        "trigger": trigger,
    }


@pytest.fixture(scope="module")
def with_commits(site):
    with pytest.MonkeyPatch.context() as patch:
        watch(patch, policy="each", quiet_period=0)
        record_commits()
        runs.put_plan(run_plan("second"))
        claims.take(run_plan("second").cluster_name, Owner(DAG_ID, "live"))
        yield site


@pytest.fixture
def queued(with_commits):
    """A training, three runs behind it, and two commits behind them."""
    site = with_commits
    site.active = [
        run("live", state="running", partition_key="a" * 40, run_type="scheduled", triggering_user_name=None),
        run("manual__third", minute=9),
        run("manual__second", minute=5),
        run("backfill__one", run_type="backfill"),
    ]
    site.active_tasks = [task("live", "train", "deferred", TRAINS)]
    site.states |= {"manual__third": "queued", "manual__second": "queued", "second": "running"}
    yield site
    site.active, site.ended, site.active_tasks = [], [], []
    site.is_paused, site.may_read = False, True
    for name in ("manual__third", "manual__second", "second"):
        site.states.pop(name)


def rows(page: Page) -> list[list[str]]:
    """The cells of the queue."""
    table = page.get_by_role("region", name=re.compile("^(Queue|队列)$")).get_by_role("table")
    expect(table).to_be_visible()
    return [row.locator("th, td").all_inner_texts() for row in table.get_by_role("row").all()[1:]]


def show(site, open_page, run_id: str | None = None, **options: Any) -> Page:
    return site.show(open_page, run_id, query={"cluster": "lab"}, **options)


def test_each_that_waits_has_its_place_and_its_reason(queued, open_page):
    shown = rows(show(queued, open_page))
    training = "live is running; Airflow runs one at a time."
    assert [[row[0], row[1], row[-1]] for row in shown] == [
        ["runs now", "live", "in the task train"],
        ["1", "manual__second", training],
        ["2", "manual__third", training],
        ["3", "b", training],
        ["4", "c", training],
        ["5", "backfill__one", "It is about to start."],
    ]
    assert shown[0][2:5] == ["schedule", "a" * 12, "2026-11-29 12:00"]
    assert shown[1][2:5] == ["by hand, admin", "", "2026-11-29 12:05"]
    assert shown[3][2:4] == ["new commit", "b" * 12]


def test_a_run_in_the_queue_leads_to_the_run(queued, open_page):
    queue = show(queued, open_page).get_by_role("region", name="Queue")
    link = queue.get_by_role("row").filter(has_text="manual__second").get_by_role("link").first
    expect(link).to_have_attribute("href", re.compile(f"/dags/{DAG_ID}/runs/manual__second/plugin/text2sql$"))


def test_a_paused_dag_says_that_nothing_starts(queued, open_page):
    queued.is_paused = True
    page = show(queued, open_page)
    expect(page.get_by_text("The DAG is paused: nothing starts until it is switched on.")).to_be_visible()
    assert {row[-1] for row in rows(page)[1:]} == {
        "The DAG is paused: it starts when the DAG is switched on."
    }


def test_what_ends_is_gone_from_the_queue_without_a_reload(queued, open_page):
    page = show(queued, open_page)
    assert len(rows(page)) == 6
    queued.active = [run("manual__third", state="running")]
    expect(page.get_by_role("region", name="Queue").get_by_role("row")).to_have_count(4)


def test_a_commit_whose_run_has_failed_before_its_claim_waits_without_a_place(queued, open_page):
    queued.active, queued.ended = [], [run("failed", state="failed", partition_key="b" * 40)]
    shown = rows(show(queued, open_page))
    assert [[row[0], row[1]] for row in shown] == [["1", "c"], ["–", "b"]]
    assert shown[1][-1].startswith("failed ended without claiming the commit: clear that run")


def test_an_empty_queue_says_when_the_next_night_is(queued, open_page, monkeypatch):
    queued.active = []
    watch(monkeypatch, policy="tagged")
    queue = show(queued, open_page).get_by_role("region", name="Queue")
    expect(queue).to_contain_text(
        "Nothing trains, and nothing waits. Next by schedule: 2026-12-01 02:00 UTC."
    )


def test_who_may_not_read_the_dag_is_told_nothing(queued, open_page):
    queued.may_read = False
    page = show(queued, open_page)
    expect(page.get_by_role("heading", name="Versions", exact=True)).to_be_visible()
    expect(page.get_by_role("region", name="Queue")).to_have_count(0)
    expect(page.get_by_role("alert")).to_have_count(0)


def test_a_queued_run_says_its_place_at_the_top(queued, open_page):
    page = show(queued, open_page, "manual__third")
    expect(page.get_by_role("status")).to_have_text(
        "Place 2 in the queue: live is running; Airflow runs one at a time."
    )


def test_a_run_whose_turn_has_not_come_names_the_one_ahead(queued, open_page):
    queued.active_tasks = [task("second", "plan", "up_for_reschedule")]
    page = show(queued, open_page, "second")
    expect(page.get_by_role("status")).to_have_text("plan waits for its turn: live works on the cluster.")


def test_a_run_whose_hosts_are_taken_says_so(queued, open_page):
    queued.active_tasks = [task("second", "train", "deferred", HOSTS_FREE)]
    page = show(queued, open_page, "second")
    expect(page.get_by_role("status")).to_have_text(
        "train waits for its hosts: another job is using them. The task's log names it."
    )


def test_a_run_that_trains_says_nothing_of_the_queue(queued, open_page):
    queued.active_tasks = [task("second", "train", "deferred", TRAINS)]
    page = show(queued, open_page, "second")
    expect(page.get_by_role("cell", name="deferred")).to_be_visible()
    expect(page.get_by_role("status")).to_have_count(0)


def test_the_queue_is_in_chinese_too(queued, open_page):
    shown = rows(show(queued, open_page, locale="zh-CN"))
    assert shown[0][-1] == "当前任务：train"
    assert shown[1][0] == "1"
    assert shown[1][2] == "手动, admin"
    assert shown[1][-1] == "live 正在运行；Airflow 每次只运行一个。"


@pytest.mark.parametrize("run_id", [None, "manual__third"])
@pytest.mark.parametrize("color_scheme", ["light", "dark"])
@pytest.mark.parametrize("locale", ["en-US", "zh-CN"])
def test_axe_finds_nothing_serious_in_the_queue(queued, open_page, run_id, color_scheme, locale):
    page = show(queued, open_page, run_id, locale=locale, color_scheme=color_scheme)
    expect(page.get_by_role("link", name="live").first).to_be_visible()
    found = Axe().run(page).response["violations"]
    assert [rule["id"] for rule in found if rule["impact"] in ("serious", "critical")] == []
