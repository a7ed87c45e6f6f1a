"""One run on two Celery workers that share the databases and the log store, and no folder."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest

from sqltune.records import runs, series
from sqltune.records.logstore import LogStore
from sqltune.records.runs import State
from ssh_gang.model import slug
from tests.chain.conftest import DAG, FORM, STATE, host_connections
from tests.chain.machines import Machines
from tests.databases import migrated

pytestmark = pytest.mark.chaos

WORKERS = {"worker-a", "worker-b"}
BUCKET = "s3://logs/machines"


@pytest.fixture(scope="module")
def keys_in_connections(lab) -> Iterator[None]:
    """The hosts' Connections hold the keys themselves: no machine reads them from a file."""
    files = host_connections()
    private_key = (STATE / "keys/id_ed25519").read_text()
    host_keys = (STATE / "keys/known_hosts").read_text().splitlines()
    for connection, known in zip(files, host_keys, strict=True):
        extra = {"private_key": private_key, "host_key": known.partition(" ")[2]}
        lab.airflow.put_connection(connection | {"extra": json.dumps(extra)})
    yield
    for connection in files:
        lab.airflow.put_connection(connection)


@pytest.fixture(scope="module")
def machines(lab, s3, keys_in_connections) -> Iterator[Machines]:
    """The lab's Airflow with a scheduler, a triggerer and two workers on machines of their own."""
    log_store = s3 | {"SQLTUNE_LOG_STORE": BUCKET}
    machines = Machines(lab, log_store)
    lab.supervisor("stop", "scheduler", "triggerer")
    try:
        machines.start("scheduler", "scheduler")
        machines.start("triggerer", "triggerer")
        for worker in WORKERS:
            machines.start_worker(worker)
        with pytest.MonkeyPatch.context() as patch:
            for name, value in log_store.items():
                patch.setenv(name, value)
            yield machines
    finally:
        machines.stop()
        lab.supervisor("start", "scheduler", "triggerer")


@pytest.fixture(scope="module")
def run(lab, machines) -> str:
    """Id of a run that the workers have carried to its end."""
    run = lab.airflow.trigger(DAG, FORM | {"seed": 14})
    state, tasks = lab.until_ended(run, 600)
    assert state == "success", tasks
    return run


def test_the_run_ends_with_a_promotion(run):
    assert runs.summary(slug(run)).state is State.PROMOTED


def test_its_tasks_ran_on_both_workers(lab, run):
    tasks = lab.airflow.tasks(DAG, run)
    assert {task["hostname"] for task in tasks if task["hostname"]} == WORKERS


def test_every_iteration_is_in_the_database(run):
    assert [point.progress.step for point in series.iterations(slug(run))] == [1, 2, 3, 4]


def test_the_whole_logs_of_both_hosts_are_in_the_log_store(run):
    names = [name for name in LogStore().names(slug(run)) if ".train." in name]
    assert {name.rpartition(".")[2] for name in names} == {"host-a", "host-b"}
    assert any(b"Iter(train) [4/4]" in LogStore().read(slug(run), name) for name in names)


def test_no_machine_keeps_records_of_its_own(run):
    homes = [folder / "sqltune" for folder in (STATE / "machines").iterdir()]
    assert len(homes) == 4
    assert [path for home in homes for path in home.rglob("*")] == []


def test_nothing_of_the_run_is_in_the_labs_own_log_store(run):
    assert not (STATE / "records/logs" / slug(run)).exists()


@pytest.fixture(scope="module")
def without_workers(lab, machines, run) -> Iterator[None]:
    """The run's workers have stopped: a worker that the test starts is the only one."""
    machines.stop(*WORKERS)
    yield
    lab.airflow.call("PATCH", f"/dags/{DAG}/dagRuns/{run}", json={"state": "failed"})


def test_a_worker_with_another_log_store_says_so_and_starts_nothing(lab, machines, run, without_workers):
    machines.start_worker("stray", SQLTUNE_LOG_STORE=f"{machines.folder('stray')}/logs")
    log = log_of_another_try(lab, run, "all_reduce")
    machines.stop("stray")
    assert "stray/logs on" in log
    assert "is not the log store that this run was planned with" in log
    assert "[host-a]" not in log


def test_a_worker_with_another_database_says_so_and_starts_nothing(lab, machines, run, without_workers):
    url = migrated(f"sqlite:///{machines.folder('stray')}/records.db")
    machines.start_worker("stray", SQLTUNE_DATABASE_URL=url)
    log = log_of_another_try(lab, run, "master_ip")
    machines.stop("stray")
    assert "stray/records.db on" in log
    assert "is not the database that this run was planned with" in log
    assert "interface" not in log


def log_of_another_try(lab, run: str, task: str, seconds: float = 120) -> str:
    """Clear a task alone; the log of its next try."""
    path = f"/dags/{DAG}/dagRuns/{run}/taskInstances/{task}"
    before = lab.airflow.get(path)["try_number"]
    answer = lab.airflow.call(
        "POST",
        f"/dags/{DAG}/clearTaskInstances",
        json={"dry_run": False, "dag_run_id": run, "task_ids": [task], "only_failed": False},
    )
    assert answer.status_code == 200, answer.text
    deadline = time.monotonic() + seconds
    while True:
        instance = lab.airflow.get(path)
        if instance["try_number"] > before and instance["state"] in ("failed", "success", "up_for_retry"):
            return "\n".join(lab.airflow.log(DAG, run, task, instance["try_number"]))
        assert time.monotonic() < deadline, instance
        time.sleep(0.5)
