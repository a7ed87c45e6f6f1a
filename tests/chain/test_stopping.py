"""What people and faults do to a training that runs under Airflow; in the order of the file, on one run.

A killed rank, a killed triggerer and a run that is marked as failed are in test_page, under an open page,
and so in every `make test`.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import signal
import time
from collections.abc import Iterator

import pytest

from sqltune.config.loading import load_cluster
from ssh_gang.hook import GangHook
from ssh_gang.model import Gang, Member
from tests.chain.conftest import DAG, STATE
from tests.chain.training import Training, processes

pytestmark = pytest.mark.chaos


@pytest.fixture(scope="module")
def training(lab):
    made = Training(lab, seed=77)
    yield made
    lab.supervisor("start", "triggerer")


def test_training_goes_on_when_a_triggerer_that_was_away_comes_back(training):
    """Another one has taken it over; Airflow kills the first one's trigger as if a user had acted."""
    before = training.until_it_trains()
    pid = training.triggerer_pid
    with training.another_triggerer():
        os.killpg(pid, signal.SIGSTOP)
        try:
            at = training.step
            training.until(lambda: training.step > at + 5, "no triggerer takes it over")
        finally:
            os.killpg(pid, signal.SIGCONT)
        training.until(
            lambda: "another triggerer watches it now" in training.lab.log_text(training.run, "train"),
            "Airflow does not kill the first trigger: is apache/airflow #73454 mended?",
        )
        at = training.step
        training.until(lambda: training.step > at + 10, "the training does not go on")
        assert training.attempts == [before]
        assert training.task["try_number"] == 1
    training.until(lambda: training.step > at + 20, "the training is not found again")


def test_training_goes_on_when_scheduler_and_database_restart(training):
    before = training.until_it_trains()
    for component in ("scheduler", "postgres"):
        at = training.step
        training.lab.supervisor("restart", component)
        training.until(
            lambda at=at: training.step > at + 20, f"the training is not found again after {component}"
        )
    training.until(lambda: training.task["state"] == "deferred", "the task is not deferred")
    assert training.attempts == [before]
    assert training.task["try_number"] == 1


def test_marked_failed_means_stopped(training):
    training.until_it_trains()
    training.until(lambda: training.step > 10, "no checkpoint is sealed yet")
    training.mark("failed")
    training.until_nothing_is_left()
    assert training.task["state"] == "failed"


def test_cleared_it_runs_again_from_its_checkpoint_and_cleared_while_it_runs_the_new_try_lives(training):
    training.clear()
    first = training.until_it_trains()
    assert "resuming from iteration" in training.lab.log_text(training.run, "train")
    training.clear()
    second = training.until_it_trains((first,))
    # The old try's on_kill has come or comes now; the new one's ranks are not touched.
    at = training.step
    training.until(lambda: training.step > at + 6, "the new try was killed with the old one")
    assert training.attempts == [second]


def test_marked_success_means_stopped(training):
    training.mark("success")
    training.until_nothing_is_left()


def test_a_run_marked_failed_while_no_triggerer_lives_is_reaped(training):
    training.clear()
    training.until_it_trains()
    training.lab.supervisor("stop", "triggerer")
    training.mark_run("failed")
    # Nothing in the run comes: every ten minutes this does, and now.
    training.airflow.trigger("text2sql_housekeeping", {})
    training.until_nothing_is_left(90)
    training.lab.supervisor("start", "triggerer")


def test_a_run_that_timed_out_leaves_nothing(training):
    training.clear()
    training.until_it_trains()
    training.lab.sql(
        "update dag_run set start_date = now() - interval '8 days' where run_id = %s", training.run
    )
    training.until_nothing_is_left()
    assert training.airflow.run_state(DAG, training.run) == "failed"
    assert training.task["state"] == "skipped"


def test_a_deferral_that_timed_out_leaves_nothing_though_no_triggerer_lives(training):
    training.clear()
    before = training.until_it_trains()
    training.lab.supervisor("stop", "triggerer")
    training.lab.sql(
        "update task_instance set trigger_timeout = now() where task_id = 'train' and run_id = %s",
        training.run,
    )
    training.until_nothing_is_left()
    tries = training.task["try_number"]
    training.until(
        lambda: "TaskDeferralTimeout" in "\n".join(training.airflow.log(DAG, training.run, "train", tries)),
        "the log does not say so",
        30,
    )
    training.lab.supervisor("start", "triggerer")
    # Its retry is the next try, alone.
    assert training.until_it_trains((before,)) != before
    training.mark("failed")
    training.until_nothing_is_left()


@contextlib.contextmanager
def host_b_cannot_prepare() -> Iterator[None]:
    """Hold the lock that every claim on host-b takes first: an attempt stops with only host-a prepared."""
    with (STATE / "hosts/host-b/home/code/gangs/.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def test_marked_failed_while_submitting_means_stopped(training):
    with host_b_cannot_prepare():
        training.clear()
        training.until(
            lambda: training.attempts and training.task["state"] == "running", "host-a does not prepare"
        )
        training.mark("failed")
        training.until_nothing_is_left(25)


def test_cleared_while_submitting_the_new_try_trains_alone(training):
    with host_b_cannot_prepare():
        training.clear()
        training.until(
            lambda: training.attempts and training.task["state"] == "running", "host-a does not prepare"
        )
        before = training.attempts[0]
        training.clear()
        training.until(lambda: before not in training.attempts, "the old try is left", 25)
    after = training.until_it_trains((before,))
    at = training.step
    training.until(lambda: training.step > at + 6, "the new try was killed with the old one")
    assert training.attempts == [after]
    training.mark("failed")
    training.until_nothing_is_left()


def test_a_gang_whose_run_is_gone_is_ended_and_another_airflows_is_not(training, connected):
    """The gang of a deleted run is started here: Airflow does not delete a run that is running."""
    cluster = load_cluster("lab")
    gang_owner = dict(
        field.split("=", 1)
        for field in next(STATE.glob(f"hosts/host-a/home/code/gangs/{DAG}.train.manual*/owner"))
        .read_text()
        .split()
    )
    owner = {"dag_id": DAG, "task_id": "train", "run_id": "deleted", "airflow": gang_owner["airflow"]}
    gangs = [
        Gang(
            name=f"{DAG}.train.{name}",
            attempt="try1",
            root=f"{cluster.work_dir}/gangs",
            owner=owner | more,
            members=[
                Member(host=h.name, conn_id=h.conn_id, argv=["sleep", "600"], cwd=cluster.work_dir)
                for h in cluster.hosts
            ],
        )
        for name, more in (("deleted", {}), ("elsewhere", {"airflow": "another"}))
    ]

    async def each(do):
        for gang in gangs:
            async with GangHook(gang) as hook:
                await do(hook)

    asyncio.run(each(lambda hook: hook.launch()))
    assert all(processes(g.name) for g in gangs)
    training.airflow.trigger("text2sql_housekeeping", {})
    deadline = time.monotonic() + 90
    while processes(gangs[0].name):
        assert time.monotonic() < deadline, processes(gangs[0].name)
        time.sleep(0.3)
    assert processes(gangs[1].name), "it was another Airflow's"
    asyncio.run(each(lambda hook: hook.stop(None)))
    assert not processes(gangs[1].name)
