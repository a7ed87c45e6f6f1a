"""A training goes on while the records' database is down, and everything is recorded afterwards."""

from __future__ import annotations

import asyncio
import logging

import pytest

from sqltune.records import database, runs, series
from sqltune.records.logstore import LogStore, check_log_store
from sqltune.records.recorder import RunRecorder
from tests.databases import migrated, running_postgres
from tests.hosts.gangs import GANG, PROGRESS_PATTERN, bash, gang, gang_folder, run
from tests.plans import run_plan
from tests.waiting import until

STEPS = 60
TRAINING = bash(
    f"for i in $(seq {STEPS}); do "
    f'echo "Iter(train) [$i/{STEPS}]  lr: 1.0e-03  time: 0.1  loss: 1.5"; sleep 0.1; done'
)


@pytest.fixture
def server(records, monkeypatch):
    """A PostgreSQL of the test's own, with the records of a run that is about to train."""
    with running_postgres() as server:
        server.execute("CREATE DATABASE outage")
        monkeypatch.setenv("SQLTUNE_DATABASE_URL", migrated(server.url("outage")))
        runs.put_plan(run_plan())
        check_log_store("r1")
        yield server
        database.close()


def test_training_outlives_its_database(server, sshds, caplog):
    caplog.set_level(logging.INFO)
    g = gang(sshds, TRAINING, progress_pattern=PROGRESS_PATTERN)
    output = gang_folder(g.members[0], g) / "output"

    def steps_on_the_host() -> int:
        return output.read_text().count("Iter(train)")

    async def go():
        training = asyncio.create_task(run(g, RunRecorder.ref("r1", GANG).resolve()))
        await until(lambda: steps_on_the_host() > 10)
        await asyncio.to_thread(server.stop)
        at_the_stop = steps_on_the_host()
        await until(lambda: "records cannot be written" in caplog.text)
        await until(lambda: steps_on_the_host() > at_the_stop + 20)
        await asyncio.to_thread(server.start)
        return await training

    _, event = asyncio.run(go())
    assert event.ok
    assert [p.progress.step for p in series.iterations("r1")] == list(range(1, STEPS + 1))
    assert LogStore().read("r1", f"{GANG}.try1.a").count(b"Iter(train)") == STEPS
    assert caplog.text.count("records cannot be written") == 1
    assert caplog.text.count("records can be written again") == 1
