"""The measures of `bench/gang.py`: each takes the hosts and reports its results."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import resource
import signal
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path

from bench.gang_output import log_lines, report
from bench.gang_systems import SYSTEMS, System, remote_job, slots, sqltune, ssh_operator
from lab import loopback
from lab.paths import NODE
from lab.settings import free_port
from ssh_gang.folder_recorder import FolderRecorder

TIMEOUT = 30
"""Seconds after which a measurement gives up waiting."""
LAUNCHES = 20
"""Launches of which the skew is measured."""
MEGABYTES = 100
"""Log that each host prints."""
PRINTED_LINES = 80
"""Lines that each host prints when the delay of a line is measured."""
GANGS = 50
"""Gangs that one process watches at the same time."""

RANK = """
import os, sys, time, torch, torch.distributed as dist
dist.init_process_group("gloo")
open(os.environ["HOME"] + "/up", "w").write(f"{os.getpid()} {time.time()}")
one = torch.ones(1)
while True:
    if sys.argv[1] == "communicates":
        dist.all_reduce(one)
    time.sleep(0.05)
"""


def bash(text: str) -> list[str]:
    return ["bash", "-c", text]


def quantile(values: Sequence[float], q: float) -> float:
    """By linear interpolation, as numpy has it."""
    return statistics.quantiles(values, n=100, method="inclusive")[int(q * 100) - 1]


async def until(condition: Callable[[], object], seconds: float = TIMEOUT) -> bool:
    """Wait until a condition is met; False after `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(0.02)
    return True


def processes_of(mark: str) -> list[int]:
    """Processes that carry a mark in their environment."""
    pids = []
    for p in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if f"BENCH_MARK={mark}".encode() in (p / "environ").read_bytes().split(b"\0"):
                pids.append(int(p.name))
    return pids


async def kill_processes_of(mark: str) -> None:
    """Kill until none is left: a shell may start its next command meanwhile."""

    def none_left() -> bool:
        pids = processes_of(mark)
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return not pids

    await until(none_left)


async def skew(hosts: Sequence[loopback.Sshd]) -> None:
    """Seconds between the first and the last host's program: 20 launches on 2 hosts, and on 16."""
    quick = SYSTEMS | {"SSHRemoteJobOperator x2": remote_job(poll=1)}
    for count in (2, 16):
        for name, system in quick.items():
            skews, delays = zip(*[await launch(system, hosts[:count]) for _ in range(LAUNCHES)], strict=True)
            name = name.replace("x2", f"x{count}")
            for q in (0.5, 0.95):
                skew_ms = 1000 * quantile(skews, q)
                report(f"launch skew p{q * 100:.0f}, {count} hosts", name, skew_ms, "ms")
            report(
                f"from the call to the last program's start, {count} hosts, median",
                name,
                statistics.median(delays),
                "s",
            )


async def launch(system: System, hosts: Sequence[loopback.Sshd]) -> tuple[float, float]:
    """The skew of one launch, and the time from the call to the last start; both in seconds."""
    for host in hosts:
        (host.home / "at").unlink(missing_ok=True)
    began = time.time()
    await system(hosts, [bash("echo $EPOCHREALTIME >$HOME/at; sleep 0.2")] * len(hosts))
    starts = [float((h.home / "at").read_text()) for h in hosts]
    return max(starts) - min(starts), max(starts) - began


async def death(hosts: Sequence[loopback.Sshd]) -> None:
    """Time from a rank's SIGKILL until every task has failed and no process is left.

    With a peer that is in a collective, and with one that computes.
    """
    for activity, peer in (("communicates", "in a collective"), ("computes", "computing")):
        for name, system in SYSTEMS.items():
            await _kill_a_rank(hosts[:2], name, system, activity, peer)


async def _kill_a_rank(
    hosts: Sequence[loopback.Sshd], name: str, system: System, activity: str, peer: str
) -> None:
    mark = uuid.uuid4().hex
    files = [host.home / "up" for host in hosts]
    for file in files:
        file.unlink(missing_ok=True)
    began = time.time()
    running = asyncio.ensure_future(system(hosts, _torchrun(hosts, mark, activity)))
    assert await until(lambda: all(f.exists() and f.read_text() for f in files)), "the ranks did not start"
    (_, first_up), (victim, second_up) = (file.read_text().split() for file in files)
    if activity == "communicates":
        report(
            "from the call to all ranks running", name, max(float(first_up), float(second_up)) - began, "s"
        )
    os.kill(int(victim), signal.SIGKILL)
    killed = time.monotonic()
    clean = await until(lambda: running.done() and not processes_of(mark))
    report(
        f"from a rank's death to failed and clean, the other rank {peer}",
        name,
        time.monotonic() - killed if clean else None,
        "s",
        **({} if clean else {"note": f"not within {TIMEOUT} s"}),
    )
    await kill_processes_of(mark)
    with contextlib.suppress(Exception):
        await asyncio.wait_for(running, TIMEOUT)


def _torchrun(hosts: Sequence[loopback.Sshd], mark: str, activity: str) -> list[list[str]]:
    """One rank on each host, by the real torchrun."""
    port = free_port()
    program = hosts[0].folder.parent / "rank.py"
    program.write_text(RANK)
    return [
        [
            "env",
            f"BENCH_MARK={mark}",
            f"PATH={NODE / 'bin'}:{os.environ['PATH']}",
            "OMP_NUM_THREADS=1",
            "GLOO_SOCKET_IFNAME=lo",
            "torchrun",
            "--nnodes=2",
            f"--node_rank={n}",
            "--nproc_per_node=1",
            "--master_addr=127.0.0.1",
            f"--master_port={port}",
            str(program),
            activity,
        ]
        for n in range(len(hosts))
    ]


async def logs(hosts: Sequence[loopback.Sshd]) -> None:
    """Bytes of log a second from each of two hosts and what of them arrived; and how late a line is."""
    for name, system in SYSTEMS.items():
        await _deliver_log(hosts[:2], name, system)
    for name, system in SYSTEMS.items():
        await _delay_of_lines(hosts[:2], name, system)


async def _deliver_log(hosts: Sequence[loopback.Sshd], name: str, system: System) -> None:
    program = [
        sys.executable,
        "-c",
        "import sys; line = b'x' * 99 + b'\\n'; "
        f"[sys.stdout.buffer.write(line * 10000) for _ in range({MEGABYTES})]",
    ]
    log_lines.clear()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        if system is sqltune:
            await sqltune(hosts, [program] * 2, FolderRecorder(folder, "bench"))
            arrived = _log_bytes(Path(folder))
        else:
            await asyncio.wait_for(system(hosts, [program] * 2), 300)
            await asyncio.sleep(0.5)
            arrived = 100 * sum(line.count("x" * 99) for _, line in log_lines)
    rate = arrived / 2e6 / (time.monotonic() - began)
    report("log delivered, a host", name, rate, "MB/s", arrived_percent=round(arrived / (MEGABYTES * 2e4), 2))


def _log_bytes(folder: Path) -> int:
    return sum(p.stat().st_size for p in folder.glob("logs/*.log"))


async def _delay_of_lines(hosts: Sequence[loopback.Sshd], name: str, system: System) -> None:
    program = bash(f"for n in $(seq {PRINTED_LINES}); do echo T $EPOCHREALTIME; sleep 0.1; done")
    log_lines.clear()
    await system(hosts, [program] * 2)
    await asyncio.sleep(0.5)
    delays = [
        arrived_at - float(printed[1])
        for arrived_at, line in log_lines
        if (printed := re.search(r"\bT (\d+\.\d+)", line))
    ]
    p95 = quantile(delays, 0.95) if len(delays) > 1 else None
    report("how late a line is, p95", name, p95, "s", lines=len(delays), of=2 * PRINTED_LINES)


async def many(hosts: Sequence[loopback.Sshd]) -> None:
    """50 gangs of 2 hosts watched by one process: its CPU, its memory, and the worker slots they hold."""
    for name, system in {"sqltune": sqltune, "SSHRemoteJobOperator x2": remote_job()}.items():
        await _watch_many(hosts[:2], name, system)
    running = asyncio.ensure_future(ssh_operator(hosts[:2], [bash("sleep 3")] * 2))
    await asyncio.sleep(1.5)
    report("worker slots held by one running gang", "SSHOperator x2", slots.used, "slots")
    await running


async def _watch_many(hosts: Sequence[loopback.Sshd], name: str, system: System) -> None:
    mark = uuid.uuid4().hex
    program = ["env", f"BENCH_MARK={mark}", *bash("while :; do echo a line; sleep 5; done")]
    memory = _memory()
    watches: list[asyncio.Future[bool]] = []
    for _ in range(GANGS):
        watches.append(asyncio.ensure_future(system(hosts, [program] * 2)))
        await asyncio.sleep(0.5)

    def all_are_watched() -> bool:
        for watch in watches:
            assert not watch.done(), watch
        return len(processes_of(mark)) >= 4 * GANGS and not slots.used

    assert await until(all_are_watched, 120), "not all are watched"
    await asyncio.sleep(5)
    began, cpu = time.monotonic(), _cpu_seconds()
    await asyncio.sleep(30)
    cores = (_cpu_seconds() - cpu) / (time.monotonic() - began)
    report(f"CPU of one process that watches {GANGS} gangs of 2 hosts", name, cores, "cores")
    report("memory a watched gang", name, (_memory() - memory) / GANGS / 1e6, "MB")
    report(f"worker slots held by {GANGS} running gangs", name, slots.used, "slots")
    for watch in watches:
        watch.cancel()
    await asyncio.gather(*watches, return_exceptions=True)
    await kill_processes_of(mark)


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _memory() -> int:
    """Resident memory of this process, in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


MEASURES = {"skew": skew, "death": death, "logs": logs, "many": many}
