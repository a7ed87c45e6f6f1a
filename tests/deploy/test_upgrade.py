"""From the version before docker-compose.yaml was made for a team, while it trains: `make upgrade-test`."""

from __future__ import annotations

import base64
import json
import os
import re
import secrets
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from lab.airflow_api import Airflow
from tests.conftest import BASE, ROOT
from tests.deploy import measured
from tests.deploy.conftest import lab_settings, network
from tests.deploy.engine import Engine
from tests.deploy.runs import failures, states, step, until_ended, until_step
from tests.deploy.stack import DAG, GATEWAY, Stack, serve_hub
from tests.waiting import wait_until

pytestmark = [pytest.mark.compose, pytest.mark.timeout(1500)]

PREDECESSOR = "8f68654"
STEPS = 250


@pytest.fixture(scope="module")
def old(docker: Engine) -> Iterator[Stack]:
    """The version before, up."""
    known = subprocess.run(["git", "cat-file", "-e", PREDECESSOR], cwd=ROOT, capture_output=True)
    if known.returncode:
        pytest.skip(f"this clone has no commit {PREDECESSOR}: git fetch --unshallow")
    for now, then in (
        ("python:3.11.13-slim-bookworm", "python:3.11-slim"),
        ("postgres:17.6-bookworm", "postgres:17"),
    ):
        docker.docker("tag", now, then)
    made = Stack(docker, BASE / "engine/upgrade")
    generated = {
        "POSTGRES_PASSWORD": secrets.token_urlsafe(),
        "FERNET_KEY": base64.urlsafe_b64encode(os.urandom(32)).decode(),
        "API_SECRET_KEY": secrets.token_urlsafe(),
        "JWT_SECRET": secrets.token_urlsafe(64),
        "SQLTUNE_AIRFLOW_PORT": str(made.port),
        "SQLTUNE_MLFLOW_PORT": made.settings["MLFLOW_PORT"],
    }
    made.make(made.settings | generated | lab_settings())
    made.copy_files(PREDECESSOR)
    with ExitStack() as running:
        running.enter_context(network(docker))
        running.enter_context(serve_hub(GATEWAY))
        running.callback(made.down)
        made.compose("build", "--quiet")
        made.compose("up", "--detach", "--wait", "--wait-timeout", "240")
        yield made


@pytest.fixture(scope="module")
def upgraded(old: Stack) -> tuple[Airflow, str, int]:
    """The new version's Airflow, the run that trained meanwhile, and its step before."""
    shown = old.compose("exec", "--no-TTY", "api-server", "cat", "/opt/airflow/passwords.json")
    before = Airflow(f"http://127.0.0.1:{old.port}", "admin", json.loads(shown)["admin"])
    old.start_hosts(before.put_connection)
    before.wait_for_dag(DAG)
    assert before.call("PATCH", f"/dags/{DAG}", json={"is_paused": False}).status_code == 200
    run = before.trigger(DAG, {"recipe": "lab_tiny", "max_steps": STEPS, "seed": 7})
    until_step(before, run, 10)
    at = step(before, run)
    # git pull
    old.copy_files()
    (old.folder / "airflow.env").write_text("".join(f"{n}={v}\n" for n, v in lab_settings().items()))
    with measured.seconds("upgrade", "deploy/upgrade.sh"):
        upgrade = subprocess.run(
            ["bash", "deploy/upgrade.sh"], cwd=old.folder, env=old.engine.env, capture_output=True, text=True
        )
    assert upgrade.returncode == 0, upgrade.stdout + upgrade.stderr
    unread = re.search(r"\.env: no longer read: (.*)\. Settings", upgrade.stderr)
    assert unread, upgrade.stderr
    assert set(unread[1].split()) == {"SQLTUNE_AIRFLOW_PORT", "SQLTUNE_MLFLOW_PORT", *lab_settings()}
    after = wait_until(old.log_in, 120, not_yet=Exception)
    return after, run, at


def test_a_training_goes_on_and_the_new_version_judges_it(upgraded, old):
    airflow, run, at = upgraded
    until_step(airflow, run, at)
    assert until_ended(airflow, run, 900) == "success", failures(airflow, run)
    assert states(airflow, run)["promote"] == "success"
    (train,) = [t for t in airflow.tasks(DAG, run) if t["task_id"] == "train"]
    assert train["try_number"] == 1


def test_connections_logs_and_records_are_there(upgraded, old):
    airflow, run, _ = upgraded
    assert {c["connection_id"] for c in airflow.get("/connections")["connections"]} >= {
        "sqltune_lab_a",
        "sqltune_lab_b",
    }
    assert "Iter(train)" in "\n".join(airflow.log(DAG, run, "train", 1))
    kept = old.compose("exec", "--no-TTY", "scheduler", "find", "/opt/airflow/logs/sqltune", "-type", "f")
    assert "train" in kept
