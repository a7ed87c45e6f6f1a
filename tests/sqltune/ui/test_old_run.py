"""A run whose series, answers and logs retention has removed still says what it came to."""

from __future__ import annotations

import pytest
from fastapi.testclient import TestClient

from sqltune.records import retention
from sqltune.records.logstore import LogStore
from sqltune.records.types import now
from sqltune.ui.app import create_app


@pytest.fixture
def old(records, run) -> str:
    """Key of the run."""
    assert retention.remove_series(now(), set()) > 0
    assert retention.remove_answers(now(), set()) > 0
    if run in LogStore().runs():
        LogStore().remove(run)
    return run


@pytest.fixture
def api(records) -> TestClient:
    return TestClient(create_app(), base_url="http://page/api/v1")


@pytest.mark.parametrize(
    "page",
    [
        *("", "/series", "/gpus", "/hosts", "/preflight", "/timeline", "/failure", "/commands", "/estimate"),
        *("/lineage", "/plan", "/comparison", "/questions", "/report.json"),
    ],
)
def test_each_page_of_it_answers(api, old, page):
    answer = api.get(f"/runs/{old}{page}")
    assert answer.status_code == 200, answer.text


def test_its_scores_and_verdict_are_there(api, old):
    (line,) = api.get("/runs").json()["runs"]
    assert (line["matched_before"], line["matched_after"], line["version"]) == (2, 2, 1)
    assert api.get(f"/runs/{old}").json()["verdict"].startswith("held back: ")
