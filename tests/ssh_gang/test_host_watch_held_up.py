"""A host whose output is held back, because what waits to be recorded is too much already."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from ssh_gang import host_watch
from ssh_gang.gpus import Gpu
from ssh_gang.host_watch import HostWatch
from ssh_gang.limit_check import exceeded_limit
from ssh_gang.model import Limits
from ssh_gang.progress import ProgressTracker
from ssh_gang.record_writer import RecordWriter
from ssh_gang.recorder import RecorderUnavailable
from tests.ssh_gang.local_host import gang

LOG = logging.getLogger("test")
PATTERN = r"step (?P<step>\d+)/(?P<total>\d+)"
LIMITS = Limits(unreachable=0.2, first_step=0.2, stall=0.2)
RUNNING = (
    b"state=present attempt=try1 fencing_token=0 generation=0 spec_hash=- alive=yes boot=same started=1 "
    b"ranks=0 exit= ended= size= now=2"
)


class NoDatabase:
    """A recorder that does not answer until it is told to."""

    def __init__(self) -> None:
        self.answers = False

    def output(self, attempt, host, offset, data):
        if not self.answers:
            raise RecorderUnavailable("down")


class Host:
    """A host that answers each query of its state."""

    def __init__(self, gang) -> None:
        self.gang = gang
        self.was_queried = asyncio.Event()

    async def run(self, member, script):
        self.was_queried.set()
        return RUNNING


@pytest.fixture
def host(tmp_path: Path, monkeypatch) -> SimpleNamespace:
    """A host whose output is followed while the record queue is full."""
    monkeypatch.setattr(host_watch, "QUERY_PAUSE", 0.01)
    g = gang(tmp_path, ["true"]).model_copy(update={"limits": LIMITS})
    recorder = NoDatabase()
    writer = RecordWriter(recorder, LOG, capacity=1, longest_pause=0.01)
    progress = ProgressTracker(PATTERN, lambda progress: None)
    hook = Host(g)
    watch = HostWatch(hook, g.members[0], LOG, writer, progress, asyncio.Event())
    writer.put_output("try1", "here", 0, b"xx", lambda end: None)
    return SimpleNamespace(watch=watch, hook=hook, writer=writer, recorder=recorder, progress=progress)


@contextlib.asynccontextmanager
async def held_up(host: SimpleNamespace):
    """The host is waited for until there is room."""
    tasks = [
        asyncio.create_task(host.watch._query_state_until_there_is_room()),
        asyncio.create_task(host.writer.run()),
    ]
    try:
        await asyncio.wait_for(host.hook.was_queried.wait(), 10)
        yield tasks[0]
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def test_it_is_neither_unreachable_nor_without_progress(host):
    async def go():
        async with held_up(host):
            began = time.monotonic()
            while time.monotonic() - began < 5 * LIMITS.unreachable:
                assert exceeded_limit(LIMITS, [host.watch], host.progress) is None
                await asyncio.sleep(0.01)

    asyncio.run(go())


def test_it_has_more_to_send(host):
    async def go():
        async with held_up(host):
            assert not host.watch.has_sent_all

    asyncio.run(go())


def test_it_is_followed_again_when_there_is_room(host):
    async def go():
        async with held_up(host) as waiting:
            host.recorder.answers = True
            await asyncio.wait_for(waiting, 10)

    asyncio.run(go())


def test_its_gpus_are_not_recorded_meanwhile(host):
    """A host that prints nothing would fill the memory with samples."""
    host.watch._record_gpus([Gpu(index=0, memory_used=1, memory_total=2)])
    assert not host.writer._numbers
