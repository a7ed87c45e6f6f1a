"""A process that watches gangs as the triggerer does, and says what that takes; for `bench.scale`.

It reads an order as JSON on stdin and prints what it found as JSON. Airflow's own part of a triggerer (the
supervisor, the queries for new triggers, the upload of logs) is left out: a line has arrived when the task's
log has it.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
from contextlib import AsyncExitStack
from typing import Any

import asyncssh  # noqa: F401 # so that its memory does not count as a gang's
import psutil

from sqltune.records.recorder import RunRecorder
from ssh_gang.hook import GangHook
from ssh_gang.model import Gang
from ssh_gang.recorder import RecorderRef
from ssh_gang.watch import Watch

TIMEOUT = 180
"""Seconds within which all gangs are watched."""
SETTLE = 5
"""Seconds between that and the measurement."""
PRINTED = re.compile(r"\bT (\d+\.\d+)")
"""When a line was printed."""

shown: list[float] = []
"""How late the lines were in the task's log, in seconds."""
recorded: list[float] = []
"""How late they were in the log store."""


class ArrivalLog:
    """A task's log that notes how late its lines are."""

    def info(self, msg: str, /, *args: object) -> None:
        text = msg % args if args else msg
        now = time.time()
        shown.extend(now - float(at) for at in PRINTED.findall(text))

    def warning(self, msg: str, /, *args: object) -> None:
        print(msg % args if args else msg, file=sys.stderr)

    error = warning


class TimedRecorder(RunRecorder):
    """The recorder of a run; notes how late lines are durable."""

    def output(self, attempt: str, host: str, offset: int, data: bytes) -> None:
        super().output(attempt, host, offset, data)
        now = time.time()
        recorded.extend(now - float(at) for at in PRINTED.findall(data.decode()))


async def watch(order: dict[str, Any]) -> dict[str, Any]:
    """Watch the gangs of an order, and measure."""
    gangs = [Gang.model_validate(gang) for gang in order["gangs"]]
    recorders = [RecorderRef.model_validate(ref).resolve() if ref else None for ref in order["recorders"]]
    process = psutil.Process()
    before = process.memory_info().rss
    async with AsyncExitStack() as hooks:
        watches = [
            Watch(await hooks.enter_async_context(GangHook(gang)), ArrivalLog(), recorder)
            for gang, recorder in zip(gangs, recorders, strict=True)
        ]
        tasks = [asyncio.create_task(watch.until_the_end()) for watch in watches]
        began = time.monotonic()
        await _until_followed(watches, tasks)
        followed = time.monotonic() - began
        await asyncio.sleep(SETTLE)
        shown.clear()
        recorded.clear()
        began, cpu = time.monotonic(), _cpu(process)
        await asyncio.sleep(order["seconds"])
        found = {
            "followed_after": followed,
            "cores": (_cpu(process) - cpu) / (time.monotonic() - began),
            "before_mb": before / 1e6,
            "after_mb": process.memory_info().rss / 1e6,
            "threads": process.num_threads(),
            "shown": shown[:],
            "recorded": recorded[:],
        }
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return found


async def _until_followed(watches: list[Watch], tasks: list[asyncio.Task[Any]]) -> None:
    """Wait until every host of every gang has reported its state."""
    async with asyncio.timeout(TIMEOUT):
        while any(host.state is None for watch in watches for host in watch.hosts.values()):
            assert not any(task.done() for task in tasks), "a gang has ended"
            await asyncio.sleep(0.1)


def _cpu(process: psutil.Process) -> float:
    used = process.cpu_times()
    return used.user + used.system


def main() -> None:
    """Carry out the order on stdin."""
    print(json.dumps(asyncio.run(watch(json.load(sys.stdin)))))
