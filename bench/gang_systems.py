"""The systems that `bench/gang.py` compares: each runs one command on each host to its end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shlex
import subprocess
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator, Sequence
from types import SimpleNamespace
from typing import Any

from airflow.providers.ssh.operators.ssh import SSHOperator
from airflow.providers.ssh.operators.ssh_remote_job import SSHRemoteJobOperator
from airflow.sdk.exceptions import AirflowException, TaskDeferred

from bench.gang_output import log_lines
from lab import loopback
from ssh_gang.hook import GangHook
from ssh_gang.model import Gang, Limits, Member
from ssh_gang.recorder import GangRecorder
from ssh_gang.watch import Watch

GRACE = 5
"""Seconds between SIGTERM and SIGKILL, for sqltune; the others have none."""

System = Callable[[Sequence[loopback.Sshd], Sequence[list[str]]], Awaitable[bool]]
"""Runs one command on each host; whether all of them succeeded."""


class WorkerSlots:
    """The worker slots of an Airflow, without its scheduler.

    Attributes:
        used: Operators that are in one of their methods now.
    """

    def __init__(self) -> None:
        self.used = 0

    @contextlib.contextmanager
    def hold(self) -> Iterator[None]:
        self.used += 1
        try:
            yield
        finally:
            self.used -= 1

    def run(self, method: Callable[..., Any], *arguments: Any) -> Awaitable[Any]:
        """Run an operator's method in a thread, as a worker does."""

        def work() -> Any:
            with self.hold():
                return method(*arguments)

        return asyncio.to_thread(work)


slots = WorkerSlots()


def unchecked(host: loopback.Sshd) -> str:
    """Connection for Airflow's operators: their hook can't check a host key on any port but 22."""
    return f"{host.conn_id}_unchecked"


def task_context() -> dict[str, Any]:
    """What the operators use of a task's context."""
    ti = SimpleNamespace(
        dag_id="bench",
        task_id="t",
        run_id=uuid.uuid4().hex,
        try_number=1,
        map_index=-1,
        xcom_push=lambda **_: None,
    )
    return {"ti": ti, "task_instance": ti}


async def sqltune(
    hosts: Sequence[loopback.Sshd], argvs: Sequence[list[str]], recorder: GangRecorder | None = None
) -> bool:
    """A gang, launched and watched to its end."""
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
        with slots.hold():
            await hook.launch()
    async with GangHook(gang) as hook:
        return (await Watch(hook, logging.getLogger("bench"), recorder).until_the_end()).ok


def remote_job(poll: int = 5) -> System:
    """Mapped SSHRemoteJobOperator tasks, deferred."""

    async def one(host: loopback.Sshd, argv: list[str]) -> bool:
        task = SSHRemoteJobOperator(
            task_id=f"t{uuid.uuid4().hex[:8]}",
            ssh_conn_id=unchecked(host),
            command=shlex.join(argv),
            poll_interval=poll,
            cleanup="never",
            do_xcom_push=False,
        )
        context = task_context()
        call = slots.run(task.execute, context)
        while True:
            try:
                await call
                return True
            except TaskDeferred as deferred:
                event = await anext(deferred.trigger.run())
                call = slots.run(task.execute_complete, context, event.payload)
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
            ssh_conn_id=unchecked(host),
            command=shlex.join(argv),
            cmd_timeout=None,
            do_xcom_push=False,
        )
        try:
            await slots.run(task.execute, task_context())
        except AirflowException:
            return False
        return True

    return all(await asyncio.gather(*map(one, hosts, argvs)))


async def terminals(hosts: Sequence[loopback.Sshd], argvs: Sequence[list[str]]) -> bool:
    """`ssh host command` in as many terminals."""

    async def one(host: loopback.Sshd, argv: list[str]) -> bool:
        keys = host.folder.parent
        options = ["-o", f"UserKnownHostsFile={keys}/known_hosts", "-o", "BatchMode=yes"]
        ssh = ["ssh", "-p", str(host.port), "-i", str(keys / "key"), *options, host.address]
        process = await asyncio.create_subprocess_exec(
            *ssh,
            shlex.join(argv),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            limit=1 << 22,
        )
        assert process.stdout
        log_lines.extend([(time.time(), line.decode()) async for line in process.stdout])
        return await process.wait() == 0

    return all(await asyncio.gather(*map(one, hosts, argvs)))


SYSTEMS: dict[str, System] = {
    "sqltune": sqltune,
    "SSHRemoteJobOperator x2": remote_job(),
    "SSHOperator x2": ssh_operator,
    "ssh in terminals": terminals,
}
