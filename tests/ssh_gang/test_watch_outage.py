"""The end of a watch: what is still on its way is recorded before the gang's end is reported."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace

import pytest

from ssh_gang import commands, host_watch
from ssh_gang import watch as watching
from ssh_gang.event import GangEvent
from ssh_gang.model import Gang, Limits, Member
from ssh_gang.recorder import RecorderUnavailable
from ssh_gang.watch import Watch
from tests.conftest import bash
from tests.ssh_gang.local_host import gang, launch

LOG = logging.getLogger("test")
LINES = 100_000


class Hook:
    """Runs a gang's commands in a bash on this machine, where `GangHook` has a host run them."""

    def __init__(self, gang: Gang) -> None:
        self.gang = gang

    async def run(self, member: Member, script: str, limit: float = 60) -> bytes:
        return (await asyncio.to_thread(bash, script)).stdout

    async def tail(self, member: Member, rank: int | None = None, lines: int = 30) -> str:
        return (await self.run(member, commands.tail_command(self.gang, rank, lines))).decode()

    async def stop(self, attempt: str | None) -> None:
        await self.run(self.gang.members[0], commands.stop_command(self.gang, attempt))

    @asynccontextmanager
    async def interact(self, member: Member, script: str) -> AsyncIterator[SimpleNamespace]:
        command, text = commands.interactive_command(script)
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            "sh", "-c", command, stdin=pipe, stdout=pipe, stderr=pipe
        )
        stdin = process.stdin
        stdin.write(text)
        try:
            yield SimpleNamespace(
                stdout=process.stdout, stderr=process.stderr, write=stdin.write, close=stdin.close
            )
        finally:
            stdin.close()
            # The script may wait until its output is read.
            await process.stdout.read()
            await process.wait()


class Recorder:
    """Keeps output and milestones; does not answer until it is told to."""

    def __init__(self) -> None:
        self.answers = False
        self.text = b""
        self.milestones: list[str] = []

    def milestone(self, attempt, milestone):
        if not self.answers:
            raise RecorderUnavailable("down")
        self.milestones.append(milestone.kind)

    def output(self, attempt, host, offset, data):
        if not self.answers:
            raise RecorderUnavailable("down")
        assert offset == len(self.text)
        self.text += data


async def until(condition) -> None:
    for _ in range(4000):
        if condition():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("condition not met within 20 s")


async def watched(g: Gang, recorder: Recorder) -> GangEvent:
    """Watch a gang that ends while the recorder does not answer, which it does after a while."""
    watch = Watch(Hook(g), LOG, recorder)
    ending = asyncio.create_task(watch.until_the_end())
    host = watch.hosts["here"]
    await until(lambda: watch._writer.is_full and host._is_held_up and watch._ended_at)
    recorder.answers = True
    return await asyncio.wait_for(ending, 30)


@pytest.mark.parametrize("exit_code", [0, 3])
def test_output_that_waited_on_a_host_during_an_outage_is_recorded(exit_code, tmp_path, monkeypatch):
    monkeypatch.setattr(watching, "CAPACITY", 64 * 1024)
    monkeypatch.setattr(host_watch, "QUERY_PAUSE", 0.5)
    # The outage is longer than hosts are waited for that just have not reported yet.
    monkeypatch.setattr(watching, "CATCH_UP", 0.01)
    g = gang(tmp_path, ["bash", "-c", f"seq {LINES}; exit {exit_code}"])
    launch(g)
    recorder = Recorder()
    event = asyncio.run(watched(g, recorder))
    assert event.ok == (exit_code == 0)
    assert recorder.text.split() == [b"%d" % i for i in range(1, LINES + 1)]
    assert recorder.milestones[-1] == "ended"


def test_processes_that_cannot_be_stopped_are_not_waited_for(tmp_path, monkeypatch):
    """Their output may never end."""
    monkeypatch.setattr(watching, "CATCH_UP", 0.01)
    g = gang(tmp_path, ["true"]).model_copy(update={"limits": Limits(records=60)})
    watch = Watch(Hook(g), LOG, Recorder())
    watch.hosts = {"here": SimpleNamespace(has_sent_all=False)}
    asyncio.run(asyncio.wait_for(watch._finish_records([], stopped=False), 10))
