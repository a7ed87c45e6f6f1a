"""100 gangs of 2 hosts that print a line a second on each host, watched by one process."""

from __future__ import annotations

import asyncio
import os
import tempfile
import uuid
from collections.abc import Sequence

from bench.gang_measures import bash, kill_processes_of
from bench.scale.gangs import gang_of, started_hosts, watched_elsewhere
from bench.scale.results import report, report_spread
from lab import loopback
from sqltune.records import runs
from sqltune.records.logstore import check_log_store
from ssh_gang.hook import GangHook
from ssh_gang.model import Gang
from ssh_gang.recorder import RecorderRef
from tests.databases import running_postgres
from tests.plans import run_plan

GANGS = (10, 100)
HOSTS = 16
AT_ONCE = 4
"""Gangs that are launched at the same time."""
WATCHED_SECONDS = 30
# `read` waits without a process of its own: two hundred of `sleep` a second would be measured too.
LINES = "exec 3<> <(:); while :; do echo step $((++n))/99999 T $EPOCHREALTIME; read -rt 1 -u 3; done"
STEP = r"step (?P<step>\d+)/(?P<total>\d+)"


def measure() -> None:
    with started_hosts(HOSTS) as hosts, running_postgres() as server, tempfile.TemporaryDirectory() as folder:
        os.environ["SQLTUNE_LOG_STORE"] = f"{folder}/logs"
        with server.new_database("migrated") as url:
            os.environ["SQLTUNE_DATABASE_URL"] = url
            for count in GANGS:
                asyncio.run(_watch(hosts, count))


async def _watch(hosts: Sequence[loopback.Sshd], count: int) -> None:
    """Watch so many gangs, first without records, then with the iterations and the logs of each."""
    mark = uuid.uuid4().hex
    # The program of rank 0 alone reports steps, as in a training.
    gangs = [
        gang_of(
            _pair(hosts, number),
            ["env", f"BENCH_MARK={mark}", *bash(LINES)],
            progress_pattern=STEP,
        )
        for number in range(count)
    ]
    slots = asyncio.Semaphore(AT_ONCE)

    async def launched(gang: Gang) -> None:
        async with slots, GangHook(gang) as hook:
            await hook.launch()

    try:
        await asyncio.gather(*map(launched, gangs))
        recorders = [_recorder(gang) for gang in gangs]
        for name, refs in (("no records", []), ("PostgreSQL and a log store", recorders)):
            found = await asyncio.to_thread(watched_elsewhere, gangs, WATCHED_SECONDS, refs)
            facts = {"gangs": count, "records": name}
            report("CPU of the watching process", found["cores"], "cores", **facts)
            report("memory by which it grew", found["after_mb"] - found["before_mb"], "MB", **facts)
            report("threads", found["threads"], "threads", **facts)
            report("until every host is followed", found["followed_after"], "s", **facts)
            report_spread("how late a line is in the task's log", found["shown"], "s", **facts)
            if refs:
                report_spread("how late a line is durable in the log store", found["recorded"], "s", **facts)
    finally:
        await kill_processes_of(mark)


def _pair(hosts: Sequence[loopback.Sshd], number: int) -> Sequence[loopback.Sshd]:
    first = 2 * number % len(hosts)
    return hosts[first : first + 2]


def _recorder(gang: Gang) -> RecorderRef:
    plan = run_plan(gang.name)
    runs.put_plan(plan)
    check_log_store(plan.key)
    arguments = {"run_key": plan.key, "gang": gang.name, "task": "train"}
    return RecorderRef(path="bench.scale.watcher.TimedRecorder", kwargs=arguments)
