"""The list of revisions: what the API answers, and what a browser does with it."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest
from fastapi.testclient import TestClient
from playwright.sync_api import Page, expect

from sqltune.records import revisions
from sqltune.records.revisions import Commit, Feed, Reading
from sqltune.ui.app import create_app
from tests.plans import run_plan
from tests.sqltune.ui.sites import reading

FEED = Feed("lab", "lab_tiny", "team/data")
TRAINED = run_plan().dataset_commit
DAY = datetime(2026, 11, 1, tzinfo=UTC)


def record_revisions() -> None:
    """Four commits; the second was trained by the run `whole`, and the last one waits."""
    names = [("a" * 40, "first"), (TRAINED, "<b>second</b>"), ("c" * 40, "third"), ("d" * 40, "fourth")]
    commits = [Commit(c, DAY + timedelta(days=n), "an author", title) for n, (c, title) in enumerate(names)]
    revisions.observe(FEED, Reading(commits=commits, read_from=None, tags={"c" * 40: ["v1"]}), "watcher")
    revisions.claim(
        FEED, TRAINED, "whole", run_plan("whole").fingerprint, is_partition=True, skips_older=False
    )


@pytest.fixture(scope="module")
def with_revisions(site):
    record_revisions()
    return site


@pytest.fixture
def page(with_revisions, open_page) -> Page:
    with_revisions.triggered.clear()
    with_revisions.refusal = ""
    return with_revisions.show(open_page, query={"cluster": "lab"})


def test_the_api_lists_commits_with_state_score_and_cost(recorded_runs, tmp_path):
    import shutil

    with reading(shutil.copytree(recorded_runs, tmp_path / "records")):
        record_revisions()
        answer = TestClient(create_app()).get("/api/v1/clusters/lab/revisions").json()
    (feed,) = answer["feeds"]
    assert (feed["dataset_repo"], feed["branch"], feed["recipe"]) == ("team/data", "main", "lab_tiny")
    assert [(r["title"], r["state"]) for r in feed["revisions"]] == [
        ("fourth", "waiting"),
        ("third", "known"),
        ("<b>second</b>", "trained"),
        ("first", "known"),
    ]
    trained = feed["revisions"][2]
    assert trained["questions"] is not None
    assert trained["run_id"]
    assert [r["tags"] for r in feed["revisions"]] == [[], ["v1"], [], []]


def test_the_list_shows_what_became_of_each_commit(page):
    row = page.get_by_role("row").filter(has_text=TRAINED[:12]).filter(has=page.get_by_role("checkbox"))
    expect(row).to_contain_text("trained")
    expect(row).to_contain_text("<b>second</b>")
    expect(page.get_by_role("row").filter(has_text="fourth")).to_contain_text("waiting")
    expect(page.get_by_role("row").filter(has_text="third")).to_contain_text("[v1]")


def test_ticked_revisions_are_started_in_the_branchs_order(page, with_revisions):
    for letter in "da":
        page.get_by_role("checkbox", name=f"Tick {letter * 12}").check()
    page.get_by_role("button", name="Train 2 revisions in order").click()
    expect(page.get_by_role("status").get_by_role("link")).to_have_count(2)
    assert [sent["partition_key"] for sent in with_revisions.triggered] == ["a" * 40, "d" * 40]
    assert [sent["conf"] for sent in with_revisions.triggered] == [{}, {}]
    assert all(re.match(r"manual__.*__[ad]{12}$", sent["dag_run_id"]) for sent in with_revisions.triggered)
    assert {sent["dag_id"] for sent in with_revisions.triggered} == {"text2sql_retrain"}


def test_what_was_trained_is_trained_again_when_it_is_ticked(page, with_revisions):
    page.get_by_role("checkbox", name=f"Tick {TRAINED[:12]}").check()
    expect(page.get_by_text("1 of them again")).to_be_visible()
    page.get_by_role("button", name="Train 1 revisions in order").click()
    expect(page.get_by_role("status").get_by_role("link")).to_have_count(1)
    assert with_revisions.triggered[0]["conf"] == {"force": True}


def test_a_refusal_of_airflow_is_shown_and_nothing_follows_it(page, with_revisions):
    with_revisions.refusal = "Forbidden"
    for letter in "da":
        page.get_by_role("checkbox", name=f"Tick {letter * 12}").check()
    page.get_by_role("button", name="Train 2 revisions in order").click()
    expect(page.get_by_role("alert")).to_have_text("Airflow refused aaaaaaaaaaaa: Forbidden")
    assert with_revisions.triggered == []


def test_the_list_is_in_chinese_too(page):
    page.get_by_role("button", name="中文").click()
    expect(page.get_by_role("heading", name=re.compile("数据集版本"))).to_be_visible()
    page.get_by_role("checkbox", name=f"选择 {'a' * 12}").check()
    expect(page.get_by_role("button", name="按顺序训练 1 个版本")).to_be_visible()
