"""A run as one file."""

from __future__ import annotations

import json
import re

import pytest
from fastapi.testclient import TestClient
from typer.testing import CliRunner

from sqltune.cli import app
from sqltune.records import runs
from sqltune.ui.app import create_app
from tests.plans import run_plan
from tests.sqltune.ui.recorded import RUN_ID


@pytest.fixture
def saved(run):
    response = TestClient(create_app()).get(f"/api/v1/runs/{run}/report.html")
    assert response.status_code == 200
    return response


def data(text):
    return json.loads(re.search(r'id="sqltune-report">(.*?)</script>', text, re.DOTALL)[1])


def test_the_file_carries_what_the_page_asks_for(saved, run):
    assert data(saved.text)[f"sqltune/api/v1/runs/{run}/question?id=lost"]["change"] == "lost"


def test_the_run_is_found_under_the_address_that_the_app_makes_of_its_run_id(saved):
    encoded = "scheduled__2026-11-01T02%3A00%3A00%2B00%3A00"
    assert data(saved.text)[f"sqltune/api/v1/runs/{encoded}"]["run_id"] == RUN_ID


def test_text_of_a_log_cannot_end_the_element_that_holds_the_data(saved):
    assert "<script>alert" not in saved.text
    assert "<script>alert(1)</script>" in json.dumps(data(saved.text))


def test_the_file_may_run_the_app_and_nothing_else(saved):
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', saved.text)[1]
    assert re.search(r"script-src 'sha256-[\w+/=]+';", policy)
    assert "unsafe-eval" not in policy
    assert "connect-src" not in policy


def test_the_file_is_a_download(saved, run):
    assert saved.headers["Content-Disposition"] == f'attachment; filename="sqltune-{run}.html"'


def test_the_command_writes_the_file(run, tmp_path):
    path = tmp_path / "run.html"
    result = CliRunner().invoke(app, ["report", RUN_ID, "-o", str(path)])
    assert (result.exit_code, result.output.strip()) == (0, str(path))
    assert data(path.read_text())[f"sqltune/api/v1/runs/{run}/comparison"]["passed"] is False


def test_the_command_writes_json(run, tmp_path):
    path = tmp_path / "run.json"
    CliRunner().invoke(app, ["report", run, "--json", "-o", str(path)])
    assert f"sqltune/api/v1/runs/{run}/plan" in json.loads(path.read_text())


def test_the_command_names_a_run_that_is_not_recorded(records):
    result = CliRunner().invoke(app, ["report", "nothing"])
    assert result.exit_code == 1
    assert "run 'nothing' is not in the records" in result.output


def test_a_run_that_was_only_planned_can_be_saved(records):
    runs.put_plan(run_plan("planned"))
    response = TestClient(create_app()).get("/api/v1/runs/planned/report.html")
    assert response.status_code == 200


def test_the_file_explains_the_questions_that_changed(saved, run):
    explained = data(saved.text)[f"sqltune/api/v1/runs/{run}/explanation?id=lost"]
    assert explained["after"]["witness"]["tables"][0]["name"] == "head"


@pytest.mark.parametrize(
    ("base_url", "airflow"),
    [
        ("https://airflow.example/team/", "https://airflow.example/team/"),
        ("https://me:secret@airflow.example", "https://airflow.example/"),
        ("javascript:alert(1)//", None),
        ("", None),
    ],
)
def test_the_file_names_the_airflow_it_came_from_if_known(run, monkeypatch, base_url, airflow):
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", base_url)
    text = TestClient(create_app()).get(f"/api/v1/runs/{run}/report.html").text
    found = re.search(r'<div id="root"[^>]* data-airflow="([^"]*)"', text)
    assert (found and found[1]) == airflow
