"""The database stops in the middle of a training, and everything is recorded afterwards."""

from __future__ import annotations

import asyncio
import logging

import pytest

from sqltune.records import runs, series
from sqltune.records.logstore import LogStore, check_log_store
from sqltune.records.recorder import RunRecorder
from ssh_gang.progress import Progress
from ssh_gang.record_writer import RecordWriter
from tests.databases import Postgres, migrated, running_postgres
from tests.plans import run_plan
from tests.waiting import until

LOG = logging.getLogger("test")
STEPS = 30
LINE = 10
"""Bytes of a line of the log."""


@pytest.fixture
def server(monkeypatch, records) -> Postgres:
    """A server of this test's own, which it may stop."""
    with running_postgres() as server:
        monkeypatch.setenv("SQLTUNE_DATABASE_URL", migrated(server.url("migrated")))
        runs.put_plan(run_plan())
        check_log_store("r1")
        yield server


def train(writer: RecordWriter, steps: range) -> None:
    """What a watcher reads from the hosts in some steps."""
    for step in steps:
        progress = Progress(step=step, total=STEPS, loss=1.0 / step)
        writer.put(lambda r, p=progress: r.progress("try1", 1000.0 + p.step, p))
        line = b"step %04d\n" % step
        writer.put_output("try1", "host-a", LINE * (step - 1), line, lambda _: None)


async def training_with_an_outage(server: Postgres, caplog: pytest.LogCaptureFixture) -> None:
    writer = RecordWriter(RunRecorder("r1", "train"), LOG, longest_pause=0.2)
    running = asyncio.create_task(writer.run())
    train(writer, range(1, 11))
    await until(lambda: writer.is_drained)
    await asyncio.to_thread(server.stop)
    train(writer, range(11, 21))
    await until(lambda: "records cannot be written" in caplog.text)
    await asyncio.to_thread(server.start)
    train(writer, range(21, STEPS + 1))
    await until(lambda: writer.is_drained)
    running.cancel()


def test_everything_recorded_during_an_outage_is_there_afterwards(server, caplog):
    caplog.set_level(logging.INFO)
    asyncio.run(training_with_an_outage(server, caplog))
    assert [p.progress.step for p in series.iterations("r1")] == list(range(1, STEPS + 1))
    log = LogStore().read("r1", "train.try1.host-a")
    assert log.splitlines() == [b"step %04d" % step for step in range(1, STEPS + 1)]


def test_the_outage_is_logged_once(server, caplog):
    caplog.set_level(logging.INFO)
    asyncio.run(training_with_an_outage(server, caplog))
    assert caplog.text.count("records cannot be written (the records' database: ") == 1
    assert caplog.text.count("records can be written again") == 1
