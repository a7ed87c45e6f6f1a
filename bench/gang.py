"""A gang on several hosts beside Airflow's operators and a person's terminals; prints one JSON object a line.

    make bench-gang                   all measures, a quarter of an hour
    python bench/gang.py skew logs    some of them

Every system does the same work on the same real sshd processes of this machine, in one process and one run:
`sqltune` (GangHook and Watch), two mapped SSHRemoteJobOperator tasks, two SSHOperator tasks, and `ssh` in as
many terminals. Airflow's scheduler is left out for all, since it costs each the same; the operators and
triggers are the real ones.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import re
import resource
import shlex
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "plugins")]
BASE = Path(os.environ.get("SQLTUNE_LAB_DIR", ROOT / ".lab"))
os.environ.setdefault("AIRFLOW_HOME", str(BASE / "test-airflow"))

from airflow.exceptions import AirflowException  # noqa: E402
from airflow.providers.ssh.operators.ssh import SSHOperator  # noqa: E402
from airflow.providers.ssh.operators.ssh_remote_job import SSHRemoteJobOperator  # noqa: E402
from airflow.sdk.exceptions import TaskDeferred  # noqa: E402

from lab import loopback  # noqa: E402
from ssh_gang.folder_recorder import FolderRecorder  # noqa: E402
from ssh_gang.hook import GangHook  # noqa: E402
from ssh_gang.model import Gang, Limits, Member  # noqa: E402
from ssh_gang.recorder import GangRecorder  # noqa: E402
from ssh_gang.watch import Watch  # noqa: E402

GRACE = 5
"""Seconds between SIGTERM and SIGKILL, for sqltune; the others have none."""

PATIENCE = 30
"""Seconds after which a measurement gives up waiting."""

executing = 0
"""Operators that are in execute(): each holds a worker slot."""

arrived: list[tuple[float, str]] = []
"""What came into the task's log, and when."""


def _catch_logs() -> Any:
    """Read everything that is logged from this process's stdout, with its time; return where results go."""
    results = os.fdopen(os.dup(1), "w", buffering=1)
    out, into = os.pipe()
    os.dup2(into, 1)

    def read() -> None:
        with os.fdopen(out, errors="replace") as lines:
            arrived.extend((time.time(), line) for line in lines)

    threading.Thread(target=read, daemon=True).start()
    return results


RESULTS = _catch_logs()


def say(measure: str, system: str, value: float | None, unit: str, **more: Any) -> None:
    """One line of the result."""
    print(
        json.dumps(
            {
                "measure": measure,
                "system": system,
                "value": None if value is None else round(value, 4),
                "unit": unit,
                **more,
            }
        ),
        file=RESULTS,
    )


def context() -> dict[str, Any]:
    """What the operators ask of a task instance."""
    ti = SimpleNamespace(
        dag_id="bench",
        task_id="t",
        run_id=uuid.uuid4().hex,
        try_number=1,
        map_index=-1,
        xcom_push=lambda **_: None,
    )
    return {"ti": ti, "task_instance": ti}


@contextlib.contextmanager
def slot() -> Iterator[None]:
    global executing
    executing += 1
    try:
        yield
    finally:
        executing -= 1


def blocking(do: Callable[..., Any], *arguments: Any) -> Awaitable[Any]:
    """An operator's method, in a thread: a worker slot."""

    def work() -> Any:
        with slot():
            return do(*arguments)

    return asyncio.to_thread(work)


System = Callable[[Sequence[loopback.Sshd], Sequence[list[str]]], Awaitable[bool]]


async def sqltune(
    hosts: Sequence[loopback.Sshd], argvs: Sequence[list[str]], record: GangRecorder | None = None
) -> bool:
    """A gang, launched and watched to its end; whether all ended well."""
    members = [
        Member(host=h.name, conn_id=h.conn_id, argv=a, cwd=f"{h.folder}/work")
        for h, a in zip(hosts, argvs, strict=True)
    ]
    gang = Gang(
        name=f"bench.{uuid.uuid4().hex[:8]}",
        attempt="try1",
        root="~/gangs",
        members=members,
        limits=Limits(grace=GRACE),
    )
    async with GangHook(gang) as hook:
        with slot():
            await hook.launch()
    async with GangHook(gang) as hook:
        return (await Watch(hook, logging.getLogger("bench"), record).until_the_end()).ok


def remote_job(poll: int = 5) -> System:
    """Mapped SSHRemoteJobOperator tasks, deferred."""

    async def one(host: loopback.Sshd, argv: list[str]) -> bool:
        task = SSHRemoteJobOperator(
            task_id=f"t{uuid.uuid4().hex[:8]}",
            ssh_conn_id=host.conn_id,
            command=shlex.join(argv),
            poll_interval=poll,
            cleanup="never",
            do_xcom_push=False,
        )
        about = context()
        call: Awaitable[Any] = blocking(task.execute, about)
        while True:
            try:
                await call
                return True
            except TaskDeferred as deferred:
                event = await anext(deferred.trigger.run())
                call = blocking(task.execute_complete, about, event.payload)
            except AirflowException:
                return False

    async def system(hosts: Sequence[loopback.Sshd], argvs: Sequence[list[str]]) -> bool:
        return all(await asyncio.gather(*map(one, hosts, argvs)))

    return system


async def ssh_operator(hosts: Sequence[loopback.Sshd], argvs: Sequence[list[str]]) -> bool:
    """Mapped SSHOperator tasks, each in its worker slot to the end."""

    async def one(host: loopback.Sshd, argv: list[str]) -> bool:
        task = SSHOperator(
            task_id=f"t{uuid.uuid4().hex[:8]}",
            ssh_conn_id=host.conn_id,
            command=shlex.join(argv),
            cmd_timeout=None,
            do_xcom_push=False,
        )
        try:
            await blocking(task.execute, context())
        except AirflowException:
            return False
        return True

    return all(await asyncio.gather(*map(one, hosts, argvs)))


async def terminals(hosts: Sequence[loopback.Sshd], argvs: Sequence[list[str]]) -> bool:
    """`ssh host command` in as many terminals."""

    async def one(host: loopback.Sshd, argv: list[str]) -> bool:
        keys = host.folder.parent
        ssh = [
            "ssh",
            "-p",
            str(host.port),
            "-i",
            str(keys / "key"),
            "-o",
            f"UserKnownHostsFile={keys}/known_hosts",
            "-o",
            "BatchMode=yes",
            host.address,
            shlex.join(argv),
        ]
        process = await asyncio.create_subprocess_exec(
            *ssh, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, limit=1 << 22
        )
        assert process.stdout
        arrived.extend([(time.time(), line.decode()) async for line in process.stdout])
        return await process.wait() == 0

    return all(await asyncio.gather(*map(one, hosts, argvs)))


SYSTEMS: dict[str, System] = {
    "sqltune": sqltune,
    "SSHRemoteJobOperator x2": remote_job(),
    "SSHOperator x2": ssh_operator,
    "ssh in terminals": terminals,
}


def bash(text: str) -> list[str]:
    return ["bash", "-c", text]


def quantile(values: Sequence[float], q: float) -> float:
    """By linear interpolation, as numpy has it."""
    return statistics.quantiles(values, n=100, method="inclusive")[int(q * 100) - 1]


async def skew(hosts: Sequence[loopback.Sshd]) -> None:
    """Seconds between the first and the last host's program: 20 launches on 2 hosts, and on 16."""
    program = bash("echo $EPOCHREALTIME >$HOME/at; sleep 0.2")
    quick = SYSTEMS | {"SSHRemoteJobOperator x2": remote_job(poll=1)}
    for count in (2, 16):
        for name, system in quick.items():
            skews, took = [], []
            for _ in range(20):
                for host in hosts[:count]:
                    (host.home / "at").unlink(missing_ok=True)
                began = time.time()
                await system(hosts[:count], [program] * count)
                starts = [float((h.home / "at").read_text()) for h in hosts[:count]]
                skews.append(max(starts) - min(starts))
                took.append(max(starts) - began)
            for q in (0.5, 0.95):
                say(
                    f"launch skew p{q * 100:.0f}, {count} hosts",
                    name.replace("x2", f"x{count}"),
                    1000 * quantile(skews, q),
                    "ms",
                )
            say(
                f"from the call to the last program's start, {count} hosts, median",
                name.replace("x2", f"x{count}"),
                statistics.median(took),
                "s",
            )


RANK = """
import os, sys, time, torch, torch.distributed as dist
dist.init_process_group("gloo")
open(os.environ["HOME"] + "/up", "w").write(f"{os.getpid()} {time.time()}")
one = torch.ones(1)
while True:
    if sys.argv[1] == "talks":
        dist.all_reduce(one)
    time.sleep(0.05)
"""


def torchrun(hosts: Sequence[loopback.Sshd], mark: str, peer_activity: str) -> list[list[str]]:
    """One rank on each host, by the real torchrun."""
    port = loopback.free_port()
    program = hosts[0].folder.parent / "rank.py"
    program.write_text(RANK)
    node = BASE / "node-env" / "bin"
    return [
        [
            "env",
            f"BENCH_MARK={mark}",
            f"PATH={node}:{os.environ['PATH']}",
            "OMP_NUM_THREADS=1",
            "GLOO_SOCKET_IFNAME=lo",
            "torchrun",
            "--nnodes=2",
            f"--node_rank={n}",
            "--nproc_per_node=1",
            "--master_addr=127.0.0.1",
            f"--master_port={port}",
            str(program),
            peer_activity,
        ]
        for n in range(len(hosts))
    ]


def left(mark: str) -> list[int]:
    """Processes that carry a mark."""
    pids = []
    for p in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if f"BENCH_MARK={mark}".encode() in (p / "environ").read_bytes().split(b"\0"):
                pids.append(int(p.name))
    return pids


async def until(true: Callable[[], object], seconds: float = PATIENCE) -> bool:
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(0.02)
    return True


async def death(hosts: Sequence[loopback.Sshd]) -> None:
    """Time from a rank's SIGKILL until every task has failed and no process is left.

    With a peer that is in a collective, and with one that computes.
    """
    hosts = hosts[:2]
    for peer_activity, peer in (("talks", "in a collective"), ("computes", "computing")):
        for name, system in SYSTEMS.items():
            mark = uuid.uuid4().hex
            for host in hosts:
                (host.home / "up").unlink(missing_ok=True)
            began = time.time()
            running = asyncio.ensure_future(system(hosts, torchrun(hosts, mark, peer_activity)))
            assert await until(
                lambda: all((h.home / "up").exists() and (h.home / "up").read_text() for h in hosts)
            ), "the ranks did not start"
            up = max(float((h.home / "up").read_text().split()[1]) for h in hosts)
            if peer_activity == "talks":
                say("from the call to all ranks running", name, up - began, "s")
            os.kill(int((hosts[1].home / "up").read_text().split()[0]), 9)
            killed = time.monotonic()
            clean = await until(lambda running=running, mark=mark: running.done() and not left(mark))
            say(
                f"from a rank's death to failed and clean, the other rank {peer}",
                name,
                time.monotonic() - killed if clean else None,
                "s",
                **({} if clean else {"note": f"not within {PATIENCE} s"}),
            )
            for pid in left(mark):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, 9)
            with contextlib.suppress(Exception):
                await asyncio.wait_for(running, 30)


def _log_bytes(folder: Path) -> int:
    return sum(p.stat().st_size for p in folder.glob("logs/*.log"))


async def logs(hosts: Sequence[loopback.Sshd]) -> None:
    """Bytes of log a second from each of two hosts and what of them arrived; and how late a line is."""
    hosts = hosts[:2]
    megabytes = 100
    program = [
        sys.executable,
        "-c",
        "import sys; line = b'x' * 99 + b'\\n'; "
        f"[sys.stdout.buffer.write(line * 10000) for _ in range({megabytes})]",
    ]
    for name, system in SYSTEMS.items():
        arrived.clear()
        began = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            if system is sqltune:
                await sqltune(hosts, [program] * 2, FolderRecorder(folder, "bench"))
                got = _log_bytes(Path(folder))
            else:
                await asyncio.wait_for(system(hosts, [program] * 2), 300)
                await asyncio.sleep(0.5)
                got = 100 * sum(line.count("x" * 99) for _, line in arrived)
        say(
            "log delivered, a host",
            name,
            got / 2e6 / (time.monotonic() - began),
            "MB/s",
            arrived_percent=round(got / (megabytes * 2e4), 2),
        )
    program = bash("for n in $(seq 80); do echo T $EPOCHREALTIME; sleep 0.1; done")
    for name, system in SYSTEMS.items():
        arrived.clear()
        await system(hosts, [program] * 2)
        await asyncio.sleep(0.5)
        late = [
            at - float(printed[1]) for at, line in arrived if (printed := re.search(r"\bT (\d+\.\d+)", line))
        ]
        say(
            "how late a line is, p95",
            name,
            quantile(late, 0.95) if len(late) > 1 else None,
            "s",
            lines=len(late),
            of=160,
        )


async def many(hosts: Sequence[loopback.Sshd]) -> None:
    """50 gangs of 2 hosts watched by one process: its CPU, its memory, and the worker slots they hold."""
    hosts = hosts[:2]
    seconds = 30
    for name, system in {"sqltune": sqltune, "SSHRemoteJobOperator x2": remote_job()}.items():
        mark = uuid.uuid4().hex
        program = ["env", f"BENCH_MARK={mark}", *bash("while :; do echo a line; sleep 5; done")]
        before = _rss()
        watching = []
        for _ in range(50):
            watching.append(asyncio.ensure_future(system(hosts, [program] * 2)))
            await asyncio.sleep(0.5)
        assert await until(lambda mark=mark: len(left(mark)) >= 200 and not executing, 120), (
            "not all are watched"
        )
        await asyncio.sleep(5)
        began, cpu = time.monotonic(), _cpu()
        await asyncio.sleep(seconds)
        say(
            "CPU of one process that watches 50 gangs of 2 hosts",
            name,
            (_cpu() - cpu) / (time.monotonic() - began),
            "cores",
        )
        say("memory a watched gang", name, (_rss() - before) / 50 / 1e6, "MB")
        say("worker slots held by 50 running gangs", name, executing, "slots")
        for w in watching:
            w.cancel()
        await asyncio.gather(*watching, return_exceptions=True)
        for _ in range(3):
            for pid in left(mark):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, 9)
            await asyncio.sleep(1)
    running = asyncio.ensure_future(ssh_operator(hosts, [bash("sleep 3")] * 2))
    await asyncio.sleep(1.5)
    say("worker slots held by one running gang", "SSHOperator x2", executing, "slots")
    await running


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _rss() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


MEASURES = {"skew": skew, "death": death, "logs": logs, "many": many}


async def main(selected: Sequence[str]) -> None:
    """Run the selected measures; all of them by default."""
    with tempfile.TemporaryDirectory(prefix="sqltune-bench-") as folder:
        hosts = loopback.start(Path(folder), "abcdefghijklmnop", ["MaxStartups 400", "MaxSessions 100"])
        for host in hosts:
            [(name, value)] = host.connection(Path(folder)).items()
            # Airflow's synchronous hook can't check a key on any port but 22: no system does, to be
            # comparable.
            connection = json.loads(value)
            connection["extra"] = {"key_file": connection["extra"]["key_file"], "no_host_key_check": True}
            os.environ[name] = json.dumps(connection)
        try:
            for name in selected or MEASURES:
                await MEASURES[name](hosts)
        finally:
            for host in hosts:
                host.stop()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
