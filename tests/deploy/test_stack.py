"""docker-compose.yaml on a real engine: a run is promoted, and goes on whichever container is killed.

Needs root, Debian's packages and some 20 minutes; `make compose-test` runs it. The tests are in the order of
the file, on one deployment for each executor.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

from ssh_gang.model import slug
from tests.conftest import BASE
from tests.deploy import measured
from tests.deploy.engine import Engine, engine
from tests.deploy.stack import DAG, HOSTS, PROJECT, Stack, serve_hub
from tests.waiting import wait_until

pytestmark = [pytest.mark.compose, pytest.mark.timeout(1500)]

SUBNET, GATEWAY = "10.214.0.0/24", "10.214.0.1"
SHAPES = {"local": "LocalExecutor", "celery": "CeleryExecutor"}
IDLE_MIB = {"local": 2500, "celery": 3200}
ALWAYS = ["api-server", "scheduler", "dag-processor", "triggerer", "postgres", "mlflow"]
STEPS = 300
"""Iterations of the training that the faults meet: enough for all of them."""


@pytest.fixture(scope="module")
def docker() -> Iterator[Engine]:
    with engine() as made:
        yield made


@pytest.fixture(scope="module", params=SHAPES)
def stack(request: pytest.FixtureRequest, docker: Engine) -> Iterator[Stack]:
    """A deployment that is up."""
    made = Stack(docker, BASE / "engine" / request.param, {"EXECUTOR": SHAPES[request.param]})
    made.check_out()
    lab = {
        "NODE_ENV": BASE / "node-env",
        "INTERFACE": "eth0",
        "SERVING": HOSTS[0],
        "HUB": f"http://{GATEWAY}:8090",
    }
    lines = [f"SQLTUNE_LAB_{name}={value}\n" for name, value in lab.items()]
    (made.folder / "airflow.env").write_text("".join(lines))
    with network(docker):
        hub = serve_hub(GATEWAY)
        try:
            with measured.seconds(request.param, "build"):
                made.compose("build", "--quiet")
            with measured.seconds(request.param, "start"):
                made.up()
            yield made
        finally:
            made.down()
            hub.terminate()
            hub.wait(30)


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


def shape(stack: Stack) -> str:
    return stack.folder.name


def services(stack: Stack) -> list[str]:
    """Services that run for long, each with the number of its container."""
    return ALWAYS + (["worker", "redis"] if shape(stack) == "celery" else [])


@pytest.fixture(scope="module")
def airflow(stack):
    made = stack.log_in()
    stack.start_hosts(made)
    made.wait_for_dag(DAG)
    answer = made.call("PATCH", f"/dags/{DAG}", json={"is_paused": False})
    assert answer.status_code == 200, answer.text
    return made


def test_it_is_small_while_nothing_runs(stack):
    used = stack.memory()
    measured.note(shape(stack), "idle MiB", round(sum(used.values())), used)
    assert sum(used.values()) < IDLE_MIB[shape(stack)], used


def test_no_dag_fails_to_import(airflow):
    assert airflow.get("/importErrors")["import_errors"] == []


def test_no_secret_can_be_inspected_or_is_in_a_log(stack, airflow):
    names = stack.compose("ps", "--all", "--quiet").split()
    shown = stack.engine.docker("inspect", *names) + stack.compose("logs", "--no-color")
    assert [name for name, value in stack.secrets.items() if value in shown] == []


def test_only_loopback_listens(stack):
    containers = json.loads(stack.engine.docker("inspect", *stack.compose("ps", "--all", "--quiet").split()))
    published = [ports for c in containers for ports in c["NetworkSettings"]["Ports"].values() if ports]
    assert {port["HostIp"] for ports in published for port in ports} == {"127.0.0.1"}


def test_airflow_and_mlflow_do_not_run_as_root(stack):
    for service in set(services(stack)) - {"postgres", "redis"}:
        lines = stack.engine.docker("top", stack.container(service), "-eo", "pid,uid").splitlines()[1:]
        assert {line.split()[1] for line in lines} == {"1000"}, lines


def test_a_run_is_promoted(stack, airflow):
    with measured.seconds(shape(stack), "first run"):
        run = airflow.trigger(DAG, {"recipe": "lab_tiny"})
        until_ended(airflow, run)
    assert states(airflow, run)["promote"] == "success", failures(airflow, run)
    assert airflow.run_state(DAG, run) == "success"


def until_ended(airflow, run: str, seconds: float = 600) -> None:
    ended = ("success", "failed")
    wait_until(
        lambda: airflow.run_state(DAG, run) in ended,
        seconds,
        lambda: states(airflow, run),
        httpx.HTTPError,
        pause=1,
    )


def states(airflow, run: str) -> dict[str, str | None]:
    return {task["task_id"]: task["state"] for task in airflow.tasks(DAG, run)}


def failures(airflow, run: str) -> str:
    """The end of the logs of the tasks that failed."""
    failed = [t for t in airflow.tasks(DAG, run) if t["state"] in ("failed", "up_for_retry")]
    logs = [airflow.log(DAG, run, t["task_id"], t["try_number"], t["map_index"])[-15:] for t in failed]
    return "\n".join(f"{t['task_id']}: " + "\n".join(log) for t, log in zip(failed, logs, strict=True))


@pytest.fixture(scope="module")
def training(airflow) -> str:
    """A run that trains for some minutes."""
    run = airflow.trigger(DAG, {"recipe": "lab_tiny", "max_steps": STEPS, "seed": 7})
    wait_until(lambda: step(airflow, run) > 5, 300, lambda: failures(airflow, run), httpx.HTTPError, pause=1)
    return run


def step(airflow, run: str) -> int:
    """The newest iteration on the page; 0 before the first."""
    headers = {"Authorization": f"Bearer {airflow.token}"}
    answer = httpx.get(f"{airflow.url}/sqltune/api/v1/runs/{slug(run)}", headers=headers, trust_env=False)
    answer.raise_for_status()
    trained = answer.json()["training"]
    return trained["step"] if trained else 0


def newer_step(airflow, run: str, than: int) -> None:
    """Wait until a newer iteration is on the page."""
    wait_until(
        lambda: step(airflow, run) > than, 300, lambda: failures(airflow, run), httpx.HTTPError, pause=1
    )


def until_well(stack: Stack, container: str, other_than: int) -> None:
    """Wait until the engine has started a container again, and it is healthy where it has a check."""
    form = "{{.State.Pid}} {{if .State.Health}}{{.State.Health.Status}}{{else}}healthy{{end}}"

    def is_well() -> bool:
        pid, health = stack.engine.docker("inspect", "--format", form, container).split()
        return int(pid) not in (0, other_than) and health == "healthy"

    wait_until(is_well, 240, pause=1)


@pytest.mark.parametrize("service", [*ALWAYS, "worker", "redis"])
def test_training_goes_on_when_a_container_is_killed(stack, airflow, training, service):
    if service not in services(stack):
        pytest.skip("not part of this shape")
    container, before = stack.container(service), step(airflow, training)
    pid = stack.pid(container)
    with measured.seconds(shape(stack), f"{service} killed"):
        stack.kill(container)
        until_well(stack, container, pid)
        newer_step(airflow, training, before)


@pytest.mark.parametrize("service", ["postgres", "redis"])
def test_training_goes_on_when_a_database_is_restarted(stack, airflow, training, service):
    if service not in services(stack):
        pytest.skip("not part of this shape")
    before = step(airflow, training)
    with measured.seconds(shape(stack), f"{service} restarted"):
        stack.compose("restart", service)
        until_well(stack, stack.container(service), 0)
        newer_step(airflow, training, before)


def test_training_goes_on_when_every_container_is_killed_at_once(stack, airflow, training):
    """As after a power cut: the engine starts them in any order."""
    containers = [stack.container(service) for service in services(stack)]
    before, pids = step(airflow, training), {c: stack.pid(c) for c in containers}
    with measured.seconds(shape(stack), "all killed"):
        for container in containers:
            stack.kill(container)
        for container in containers:
            until_well(stack, container, pids[container])
        newer_step(airflow, training, before)


def test_the_training_was_one_and_ended_well(stack, airflow, training):
    until_ended(airflow, training, 900)
    assert airflow.run_state(DAG, training) == "success", failures(airflow, training)
    (train,) = [t for t in airflow.tasks(DAG, training) if t["task_id"] == "train"]
    assert train["try_number"] == 1
    of_it = f"FROM iterations JOIN runs ON runs.id = iterations.run_id WHERE runs.run_id = '{training}'"
    assert query(stack, f"SELECT count(DISTINCT attempt) {of_it}") == "1"
    assert query(stack, "SELECT count(*), count(DISTINCT run_id) FROM versions") == "2|2"


def test_nothing_is_left_on_a_host(stack, training):
    for host in HOSTS:
        running = stack.engine.docker("exec", host, "ps", "-eo", "args")
        assert "xtuner.tools.train" not in running
        assert "torchrun" not in running


def query(stack: Stack, statement: str) -> str:
    """What a query of the records' database answers."""
    psql = (
        "psql",
        "--username=airflow",
        "--dbname=sqltune",
        "--tuples-only",
        "--no-align",
        "--command",
        statement,
    )
    return stack.engine.docker("exec", "--user", "postgres", stack.container("postgres"), *psql).strip()
