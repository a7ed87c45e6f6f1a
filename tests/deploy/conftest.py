"""The deployments that the tests look at, one after the other, each up for all tests of its shape."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

import pytest

from lab.airflow_api import Airflow
from tests.browser import browser, open_page
from tests.conftest import BASE, free_port
from tests.deploy import aws, measured
from tests.deploy.engine import Engine, engine
from tests.deploy.other_airflow import serve_other
from tests.deploy.runs import until_step
from tests.deploy.stack import DAG, GATEWAY, HOSTS, PROJECT, SUBNET, Stack, serve_hub


@dataclass(frozen=True)
class Shape:
    """A way to deploy: what `.env` and airflow.env say, and what may be used.

    Attributes:
        env: Settings of `.env`.
        airflow_env: Settings of airflow.env.
        idle_mib: Memory of all containers while nothing runs, at most.
        steps: Iterations of the training that the faults meet: enough for all of them.
    """

    env: dict[str, str]
    airflow_env: dict[str, str]
    idle_mib: int
    steps: int
    services: list[str] = field(default_factory=list)


PROXY_PORT = free_port()
ALWAYS = ["api-server", "scheduler", "dag-processor", "triggerer", "postgres", "mlflow", "cleanup"]
SHAPES = {
    # One machine: TLS in front, under a path.
    "local": Shape(
        {
            "EXECUTOR": "LocalExecutor",
            "PROXY": "proxy",
            "PROXY_PORT": str(PROXY_PORT),
            "BASE_URL": f"https://localhost:{PROXY_PORT}",
            "BASE_PATH": "/text2sql",
        },
        {},
        2500,
        340,
        [*ALWAYS, "proxy"],
    ),
    # Several, one of which is this one: logs in an object store, Connections from a secrets backend.
    "celery": Shape(
        {
            "EXECUTOR": "CeleryExecutor",
            "AUTH_MANAGER": "airflow.api_fastapi.auth.managers.simple.simple_auth_manager.SimpleAuthManager",
            "SQLTUNE_LOG_STORE": f"s3://{aws.BUCKET}/gangs",
            "COMPOSE_FILE": "docker-compose.yaml:deploy/machines.yaml",
            "PRIVATE_BIND": GATEWAY,
        },
        aws.settings(GATEWAY),
        3200,
        750,
        [*ALWAYS, "worker", "redis"],
    ),
}


@pytest.fixture(scope="session")
def docker() -> Iterator[Engine]:
    with engine() as made:
        yield made


@pytest.fixture(scope="session", params=SHAPES)
def stack(request: pytest.FixtureRequest, docker: Engine) -> Iterator[Stack]:
    """A deployment that is up."""
    shape = SHAPES[request.param]
    made = Stack(docker, BASE / "engine" / request.param, shape.env)
    # What a run that was killed has left.
    made.down()
    made.check_out()
    made.add_clusters()
    lines = [f"{name}={value}\n" for name, value in (lab_settings() | shape.airflow_env).items()]
    (made.folder / "airflow.env").write_text("".join(lines))
    with ExitStack() as running:
        running.enter_context(network(docker))
        running.enter_context(serve_hub(GATEWAY))
        if shape.airflow_env:
            running.enter_context(aws.serve(GATEWAY))
        running.callback(made.down)
        with measured.seconds(request.param, "build"):
            made.compose("build", "--quiet")
        with measured.seconds(request.param, "start"):
            made.up()
        yield made


@pytest.fixture(scope="session")
def shape(stack: Stack) -> Shape:
    """What the deployment is made of."""
    return SHAPES[stack.folder.name]


@pytest.fixture(scope="session")
def airflow(stack: Stack, shape: Shape) -> Airflow:
    """A client of the deployment's Airflow; two hosts are there to train on."""
    made = stack.log_in()
    stack.start_hosts(aws.put_connection if shape.airflow_env else made.put_connection)
    made.wait_for_dag(DAG)
    answer = made.call("PATCH", f"/dags/{DAG}", json={"is_paused": False})
    assert answer.status_code == 200, answer.text
    return made


def lab_settings() -> dict[str, str]:
    """What the cluster file of the lab reads, for hosts in the services' network."""
    return {
        "SQLTUNE_LAB_NODE_ENV": str(BASE / "node-env"),
        "SQLTUNE_LAB_INTERFACE": "eth0",
        "SQLTUNE_LAB_SERVING": HOSTS[0],
        "SQLTUNE_LAB_HUB": f"http://{GATEWAY}:8090",
        # Of the lab, and of each host alone.
        "SQLTUNE_MAX_ACTIVE_RUNS": "3",
    }


@pytest.fixture(scope="session")
def training(airflow: Airflow, shape: Shape) -> str:
    """A run that trains for some minutes."""
    run = airflow.trigger(DAG, {"recipe": "lab_tiny", "max_steps": shape.steps, "seed": 7})
    until_step(airflow, run, 5)
    return run


@pytest.fixture(scope="session")
def other_airflow(stack: Stack, training: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Airflow]:
    """Another Airflow that trains on the same hosts."""
    with serve_other(stack, tmp_path_factory.mktemp("other"), lab_settings()) as other:
        yield other


@contextmanager
def network(docker: Engine) -> Iterator[None]:
    """The network that Compose would make, with an address that is known before."""
    name, labels = f"{PROJECT}_default", {"project": PROJECT, "network": "default"}
    options = [f"--label=com.docker.compose.{label}={value}" for label, value in labels.items()]
    docker.docker("network", "create", f"--subnet={SUBNET}", f"--gateway={GATEWAY}", *options, name)
    try:
        yield
    finally:
        subprocess.run(["docker", "network", "rm", name], env=docker.env, capture_output=True, check=False)


__all__ = ["browser", "open_page"]
