"""A worker on another machine, with a checkout, the secrets and nothing else of the first one's."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.deploy.engine import Engine
from tests.deploy.runs import until_ended
from tests.deploy.stack import DAG, GATEWAY, PROJECT, Stack

pytestmark = [pytest.mark.compose, pytest.mark.timeout(600)]

OTHER = f"{PROJECT}-other"
SETTINGS = f"""
COMPOSE_PROJECT_NAME={OTHER}
COMPOSE_FILE=docker-compose.yaml:network.yaml
API_SERVER=http://{GATEWAY}:8080
POSTGRES_HOST={GATEWAY}
REDIS_HOST={GATEWAY}
MLFLOW_TRACKING_URI=http://{GATEWAY}:5000
no_proxy={GATEWAY}
WORKERS=1
"""
"""What docs/deploy.md says of another machine's `.env`."""
NETWORK = {"networks": {"default": {"name": f"{PROJECT}_default", "external": True}}}
"""The machine is a project of its own on the same engine. What it is told are addresses, and no names."""


@pytest.fixture
def other_worker(stack: Stack, tmp_path: Path) -> Iterator[str]:
    """Hostname of the other machine's worker, the only one that runs."""
    if stack.settings["EXECUTOR"] != "CeleryExecutor":
        pytest.skip("not part of this shape")
    machine = tmp_path / "machine"
    shutil.copytree(stack.folder, machine, ignore=shutil.ignore_patterns("*-torch_extensions"))
    with (machine / ".env").open("a") as file:
        file.write(SETTINGS)
    (machine / "network.yaml").write_text(yaml.safe_dump(NETWORK))
    stack.compose("stop", "worker")
    try:
        compose(stack.engine, machine, "build", "--quiet", "init")
        compose(stack.engine, machine, "up", "--detach", "--no-deps", "--wait", "worker")
        yield stack.engine.docker("exec", f"{OTHER}-worker-1", "hostname").strip()
    finally:
        stack.compose("start", "worker")
        compose(stack.engine, machine, "down", "--volumes", "--timeout", "5")


def compose(engine: Engine, machine: Path, *arguments: str) -> None:
    engine.docker("compose", *arguments, cwd=machine)


def test_a_worker_on_another_machine_runs_what_the_first_one_plans(airflow, other_worker):
    run = airflow.trigger(DAG, {"dataset_revision": "no-such-revision"})
    assert until_ended(airflow, run) == "failed"
    (plan,) = (task for task in airflow.tasks(DAG, run) if task["task_id"] == "plan")
    assert plan["hostname"] == other_worker
    assert "dataset_revision:" in "\n".join(airflow.log(DAG, run, "plan", 1))
