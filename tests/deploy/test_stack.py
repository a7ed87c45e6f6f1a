"""docker-compose.yaml on a real engine: a run is promoted, whichever container is killed while it trains.

Needs root, Debian's packages and some 20 minutes; `make compose-test` runs it. The tests are in the order of
the file, on one deployment for each executor.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime

import httpx
import pytest

from lab.airflow_api import Airflow
from tests.deploy import aws, measured
from tests.deploy.conftest import ALWAYS
from tests.deploy.runs import failures, states, step, until_ended, until_step
from tests.deploy.stack import DAG, HOSTS, PROJECT, Stack
from tests.waiting import wait_until

pytestmark = [pytest.mark.compose, pytest.mark.timeout(1500)]

CUT_SECONDS = 120


def name(stack: Stack) -> str:
    return stack.folder.name


def until_well(stack: Stack, container: str, other_than: int) -> None:
    """Wait until the engine has started a container again, and it is healthy where it has a check."""
    form = "{{.State.Pid}} {{if .State.Health}}{{.State.Health.Status}}{{else}}healthy{{end}}"

    def is_well() -> bool:
        pid, health = stack.engine.docker("inspect", "--format", form, container).split()
        return int(pid) not in (0, other_than) and health == "healthy"

    wait_until(is_well, 240, pause=1)


@pytest.mark.parametrize("service", [*ALWAYS, "worker", "redis", "proxy"])
def test_training_goes_on_when_a_container_is_killed(stack, shape, airflow, training, service):
    if service not in shape.services:
        pytest.skip("not part of this shape")
    container, before = stack.container(service), step(airflow, training)
    pid = stack.pid(container)
    with measured.seconds(name(stack), f"{service} killed"):
        stack.kill(container)
        until_well(stack, container, pid)
        until_step(airflow, training, before)


@pytest.mark.parametrize("service", ["postgres", "redis"])
def test_training_goes_on_when_a_database_is_restarted(stack, shape, airflow, training, service):
    if service not in shape.services:
        pytest.skip("not part of this shape")
    before = step(airflow, training)
    with measured.seconds(name(stack), f"{service} restarted"):
        stack.compose("restart", service)
        until_well(stack, stack.container(service), 0)
        until_step(airflow, training, before)


def test_training_goes_on_when_every_container_is_killed_at_once(stack, shape, airflow, training):
    """As after a power cut: the engine starts them in any order."""
    containers = [stack.container(service) for service in shape.services]
    before, pids = step(airflow, training), {c: stack.pid(c) for c in containers}
    with measured.seconds(name(stack), "all killed"):
        for container in containers:
            stack.kill(container)
        for container in containers:
            until_well(stack, container, pids[container])
        until_step(airflow, training, before)


@dataclass(frozen=True)
class Other:
    """A run of another Airflow on the hosts that train."""

    airflow: Airflow
    run: str


@pytest.fixture(scope="module")
def other(shape, request) -> Other:
    if "worker" not in shape.services:
        pytest.skip("the other shape's")
    other_airflow = request.getfixturevalue("other_airflow")
    return Other(other_airflow, other_airflow.trigger(DAG, {"recipe": "lab_tiny", "seed": 7}))


@dataclass(frozen=True)
class CutOff:
    """A worker without a network.

    Attributes:
        container: The worker.
        step: The training's step when it was cut off.
        since: The time when it was, by `time.monotonic`.
    """

    container: str
    step: int
    since: float


@pytest.fixture(scope="module")
def cut_off(stack, shape, airflow, training) -> CutOff:
    if "worker" not in shape.services:
        pytest.skip("not part of this shape")
    worker = stack.container("worker")
    made = CutOff(worker, step(airflow, training), time.monotonic())
    stack.engine.docker("network", "disconnect", f"{PROJECT}_default", worker)
    return made


def test_another_airflow_waits_for_the_hosts(airflow, training, cut_off, other):
    """In the two minutes of the next test, as it takes a part of them to start another Airflow."""

    def waits() -> bool:
        log = "\n".join(other.airflow.log(DAG, other.run, "all_reduce", 1))
        return "waiting without a worker slot until it has ended" in log

    wait_until(waits, 240, lambda: failures(other.airflow, other.run), httpx.HTTPError, pause=1)
    assert states(airflow, training)["train"] == "deferred"


def test_training_goes_on_when_a_worker_is_cut_off_the_network_for_two_minutes(
    stack, airflow, training, cut_off
):
    time.sleep(max(0, CUT_SECONDS - (time.monotonic() - cut_off.since)))
    assert step(airflow, training) > cut_off.step
    assert states(airflow, training)["train"] == "deferred", "too short a training: raise the shape's steps"
    stack.engine.docker("network", "connect", f"{PROJECT}_default", cut_off.container)
    # What is left of the run is its to do.
    stack.engine.docker("stop", "--time", "20", stack.container("worker", 2))


def test_training_is_resumed_when_every_machine_reboots(stack, shape, airflow, training):
    """The hosts too: what runs there is gone, and goes on from a checkpoint."""
    if "worker" in shape.services:
        pytest.skip("the other shape's")
    before = step(airflow, training)
    with measured.seconds(name(stack), "all machines rebooted"):
        stack.engine.stop()
        stack.engine.start()
        for service in shape.services:
            until_well(stack, stack.container(service), 0)
        until_step(airflow, training, before)


def test_the_training_was_one_and_its_model_is_served(stack, shape, airflow, training):
    measured.note(name(stack), "step after all faults", step(airflow, training), shape.steps)
    with measured.seconds(name(stack), "the run's rest"):
        assert until_ended(airflow, training, 900) == "success", failures(airflow, training)
    assert states(airflow, training)["promote"] == "success"
    of_it = f"FROM iterations JOIN runs ON runs.id = iterations.run_id WHERE runs.run_id = '{training}'"
    # The reboot began another one, from a checkpoint.
    attempts = 1 if "worker" in shape.services else 2
    assert stack.query(f"SELECT count(DISTINCT attempt), count(DISTINCT step) {of_it}") == (
        f"{attempts}|{shape.steps}"
    )
    firsts = stack.query(f"SELECT min(step) {of_it} GROUP BY attempt ORDER BY 1").splitlines()
    assert len(firsts) == attempts
    assert all(int(first) > 5 for first in firsts[1:]), firsts
    assert stack.query("SELECT count(*) FROM versions WHERE cluster = 'lab'") == "1"


def test_the_other_airflow_trained_when_the_hosts_were_free(stack, training, other):
    assert until_ended(other.airflow, other.run) == "success", failures(other.airflow, other.run)
    assert states(other.airflow, other.run)["promote"] == "success"
    (reduced,) = (t for t in other.airflow.tasks(DAG, other.run) if t["task_id"] == "all_reduce")
    last = (
        "SELECT to_char(max(iterations.at) AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS+00:00')"
        f" FROM iterations JOIN runs ON runs.id = iterations.run_id WHERE runs.run_id = '{training}'"
    )
    assert datetime.fromisoformat(reduced["end_date"]) > datetime.fromisoformat(stack.query(last))


def test_the_logs_of_tasks_and_gangs_are_in_the_object_store(stack, shape, airflow, training):
    if not shape.airflow_env:
        pytest.skip("the other shape's")
    assert any("train" in key for key in aws.objects("gangs/"))
    assert any("task_id=train" in key for key in aws.objects(f"tasks/dag_id={DAG}"))
    for worker in (stack.container("worker"), stack.container("api-server")):
        stack.engine.docker("exec", worker, "sh", "-c", "rm -rf /opt/airflow/logs/dag_id=*")
    assert "Iter(train)" in "\n".join(airflow.log(DAG, training, "train", 1))


def test_nothing_is_left_on_a_host(stack, training):
    for host in HOSTS:
        running = stack.engine.docker("exec", host, "ps", "-eo", "args")
        assert "xtuner.tools.train" not in running
        assert "torchrun" not in running
