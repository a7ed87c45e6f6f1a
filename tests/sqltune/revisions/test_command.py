"""`sqltune revisions`, as a person types it, beside a server that answers as Airflow does."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from fastapi import FastAPI, HTTPException, Request
from typer.testing import CliRunner

from sqltune.cli import app
from sqltune.records import revisions
from sqltune.records.revisions import Commit, Feed, Reading
from tests.conftest import free_port, serving
from tests.plans import LAB

FEED = Feed("lab", "lab_smollm2", "sqltune-lab/text2sql_zh_en")
DAY = datetime(2026, 11, 1, 8, 30, tzinfo=UTC)


class StandIn:
    """Airflow's login and its request that starts a run."""

    def __init__(self) -> None:
        self.bodies: list[dict[str, object]] = []
        self.app = FastAPI()

        @self.app.post("/auth/token")
        def log_in(body: dict[str, str]) -> dict[str, str]:
            if body != {"username": "me", "password": "secret"}:
                raise HTTPException(401, "Invalid credentials")
            return {"access_token": "token of me"}

        @self.app.post("/api/v2/dags/text2sql_retrain/dagRuns")
        def start(request: Request, body: dict[str, object]) -> dict[str, object]:
            if request.headers["Authorization"] != "Bearer token of me":
                raise HTTPException(401, "Unauthorized")
            self.bodies.append(body)
            return body


@pytest.fixture
def airflow():
    stand_in = StandIn()
    with serving(stand_in.app) as url:
        stand_in.url = url
        yield stand_in


@pytest.fixture
def recorded(records, monkeypatch):
    for name, value in LAB.items():
        monkeypatch.setenv(name, value)
    commits = [Commit(c * 40, DAY, "author", f"title {c}") for c in "abc"]
    revisions.observe(FEED, Reading(commits=commits, read_from=None, tags={"b" * 40: ["v1"]}), "watcher")


def run(*arguments: str):
    return CliRunner().invoke(app, ["revisions", *arguments])


def train(airflow: StandIn, *commits: str, password: str = "secret"):
    return run("--train", *commits, "--airflow", airflow.url, "--user", "me", "--password", password)


def test_it_lists_commit_date_state_title_and_tags(recorded):
    assert run().output.splitlines() == [
        "aaaaaaaaaaaa  2026-11-01 08:30  known     title a",
        "bbbbbbbbbbbb  2026-11-01 08:30  known     title b [v1]",
        "cccccccccccc  2026-11-01 08:30  waiting   title c",
    ]


def test_it_starts_a_run_for_each_commit_in_the_order_given(recorded, airflow):
    result = train(airflow, "c" * 12, "a" * 7)
    assert result.exit_code == 0, result.output
    assert [body["partition_key"] for body in airflow.bodies] == ["c" * 40, "a" * 40]
    assert result.output.splitlines() == [body["dag_run_id"] for body in airflow.bodies]


@pytest.mark.parametrize("name", ["fffffff", "aaa", "main"])
def test_a_name_that_is_no_recorded_commit_starts_nothing(recorded, airflow, name):
    result = train(airflow, "b" * 40, name)
    assert result.exit_code == 1
    assert f"'{name}'" in result.output
    assert airflow.bodies == []


def test_without_a_commit_nothing_is_started(recorded, airflow):
    result = train(airflow)
    assert result.exit_code == 1
    assert "sqltune revisions --train A B C" in result.output


def test_a_wrong_password_is_told_without_repeating_it(recorded, airflow):
    result = train(airflow, "a" * 40, password="wrong-one")
    assert result.exit_code == 1
    assert "refuses /auth/token with 401" in result.output
    assert "wrong-one" not in result.output


def test_an_airflow_that_does_not_answer_is_named(recorded):
    url = f"http://127.0.0.1:{free_port()}"
    result = run("--train", "a" * 40, "--airflow", url, "--token", "t")
    assert result.exit_code == 1
    assert f"Airflow at {url}" in result.output


def test_refresh_asks_the_hub_first(records, hub, monkeypatch):
    for name, value in LAB.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("SQLTUNE_LAB_HUB", hub)
    assert run().output == ""
    first, second = run("--refresh").output.splitlines()
    assert first.endswith("known     40 tables")
    assert second.endswith("waiting   20 more tables")
