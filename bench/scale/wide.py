"""One gang on 64 hosts: launch, stop, the death of a member, and the memory of the process that watches."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
import uuid
from collections.abc import Sequence

from bench.gang_measures import bash, kill_processes_of, launch, processes_of, until
from bench.gang_systems import sqltune
from bench.scale.gangs import gang_of, started_hosts, watched_elsewhere
from bench.scale.results import report, report_spread
from lab import loopback
from ssh_gang.hook import GangHook
from ssh_gang.watch import Watch

HOSTS = 64
LAUNCHES = 20
STOPS = 5
WATCHED_SECONDS = 15
NEVER_ENDS = bash("while :; do echo a line; sleep 5; done")


def measure() -> None:
    with started_hosts(HOSTS) as hosts:
        for count in (2, HOSTS):
            asyncio.run(_launches(hosts[:count]))
            asyncio.run(_stops(hosts[:count]))
            asyncio.run(_deaths(hosts[:count]))
            asyncio.run(_watch(hosts[:count]))


async def _launches(hosts: Sequence[loopback.Sshd]) -> None:
    skews, delays = zip(*[await launch(sqltune, hosts) for _ in range(LAUNCHES)], strict=True)
    report_spread("launch skew", [1000 * s for s in skews], "ms", hosts=len(hosts))
    report_spread("from the call to the last program's start", delays, "s", hosts=len(hosts))


async def _stops(hosts: Sequence[loopback.Sshd]) -> None:
    seconds = []
    for _ in range(STOPS):
        async with GangHook(gang_of(hosts, ["sleep", "600"])) as hook:
            _, gang = await hook.launch()
            began = time.monotonic()
            await hook.stop(gang.attempt)
            seconds.append(time.monotonic() - began)
    report_spread("from the call to stopped and verified", seconds, "s", hosts=len(hosts))


async def _deaths(hosts: Sequence[loopback.Sshd]) -> None:
    """One member is killed: the watch stops the others, and finds out who was first."""
    seconds = []
    for _ in range(STOPS):
        mark = uuid.uuid4().hex
        gang = gang_of(hosts, ["env", f"BENCH_MARK={mark}", "sleep", "600"])
        async with GangHook(gang) as hook:
            await hook.launch()
            watch = asyncio.create_task(Watch(hook, logging.getLogger("bench"), None).until_the_end())
            assert await until(lambda mark=mark: len(processes_of(mark)) == len(hosts))
            os.kill(processes_of(mark)[len(hosts) // 2], signal.SIGKILL)
            began = time.monotonic()
            ended = await watch
            seconds.append(time.monotonic() - began)
            assert ended.failed_host, ended
            assert not processes_of(mark)
    report_spread("from a member's death to failed and clean", seconds, "s", hosts=len(hosts))


async def _watch(hosts: Sequence[loopback.Sshd]) -> None:
    mark = uuid.uuid4().hex
    gang = gang_of(hosts, ["env", f"BENCH_MARK={mark}", *NEVER_ENDS])
    try:
        async with GangHook(gang) as hook:
            await hook.launch()
        found = await asyncio.to_thread(watched_elsewhere, [gang], WATCHED_SECONDS)
    finally:
        await kill_processes_of(mark)
    grown = found["after_mb"] - found["before_mb"]
    report("memory by which the watching process grew", grown, "MB", hosts=len(hosts))
    report("CPU of the watching process", found["cores"], "cores", hosts=len(hosts))
