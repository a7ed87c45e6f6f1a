"""Gangs for tests over real sshd, and what the tests look at."""

from __future__ import annotations

import logging
from pathlib import Path

from sqltune.operators.mmengine import PROGRESS_PATTERN
from ssh_gang import commands
from ssh_gang.event import GangEvent
from ssh_gang.hook import GangHook
from ssh_gang.model import Gang, Limits, Member
from ssh_gang.recorder import GangRecorder
from ssh_gang.resume import Decision
from ssh_gang.watch import Watch
from tests.conftest import BASE

GANG = "dag.train.run"
"""Name of the test's gang."""

__all__ = ["PROGRESS_PATTERN"]


def gang(sshds, argv, attempt="try1", limits=None, ranks=0, torch=False, **more) -> Gang:
    """A gang on the test's hosts; `argv` is one program for all of them, or one for each."""
    argvs = argv if isinstance(argv[0], list) else [argv] * len(sshds)
    prefix = str(BASE / "node-env" / "bin") if torch else None
    # Each host has a home, and so folders, of its own.
    members = [
        Member(
            host=sshd.name,
            conn_id=sshd.conn_id,
            argv=argv,
            cwd=f"{sshd.folder}/work",
            ranks=ranks,
            path_prefix=prefix,
            env={"PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1"},
        )
        for sshd, argv in zip(sshds, argvs, strict=True)
    ]
    return Gang(
        name=GANG,
        attempt=attempt,
        root="~/gangs",
        members=members,
        limits=limits or Limits(connect=10, prepare=10, grace=2),
        **more,
    )


def bash(text: str) -> list[str]:
    """A program that runs a line of shell."""
    return ["bash", "-c", text]


def gang_folder(member: Member, g: Gang) -> Path:
    """The folder in which a member's host keeps the gang."""
    return Path(member.cwd).parent / "home" / "gangs" / g.name


async def watch(g: Gang, recorder: GangRecorder | None = None) -> GangEvent:
    """Watch a gang that was launched, until it has ended."""
    async with GangHook(g) as hook:
        return await Watch(hook, logging.getLogger("test"), recorder).until_the_end()


async def run(g: Gang, recorder: GangRecorder | None = None) -> tuple[Decision, GangEvent]:
    """Launch a gang, and watch it until it has ended."""
    async with GangHook(g) as hook:
        decision, started = await hook.launch()
    return decision, await watch(started, recorder)


def log_lines(caplog, host: str) -> list[str]:
    """What one host's job printed, as it is in the task's log."""
    lines = [line for message in caplog.messages for line in message.splitlines()]
    return [line.removeprefix(f"[{host}] ") for line in lines if line.startswith(f"[{host}] ")]


def remaining_processes(g: Gang) -> list[Path]:
    """Processes of an attempt on any of the test's hosts."""
    mark = f"{commands.MARKER}={g.marker}".encode()
    processes = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (process / "environ").read_bytes().split(b"\0"):
                processes.append(process)
        except OSError:
            continue
    return processes
