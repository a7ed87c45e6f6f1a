"""Gangs for tests over real sshd."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from pathlib import Path

from sqltune.operators.mmengine import PROGRESS_PATTERN
from ssh_gang import commands
from ssh_gang.hook import GangHook
from ssh_gang.model import Gang, Limits, Member
from ssh_gang.watch import Watch
from tests.conftest import BASE

GANG = "dag.train.run"
"""Name of the test's gang."""

__all__ = ["PROGRESS_PATTERN"]


def gang(sshds, argv, attempt="try1", limits=None, ranks=0, torch=False, **more) -> Gang:
    """A gang on the test's hosts; one program for all, or one for each."""
    argvs = argv if isinstance(argv[0], list) else [argv] * len(sshds)
    prefix = str(BASE / "node-env" / "bin") if torch else None
    # The folders are told apart by home: each host has its own, as it would.
    members = [
        Member(
            host=s.name,
            conn_id=s.conn_id,
            argv=a,
            cwd=f"{s.folder}/work",
            ranks=ranks,
            path_prefix=prefix,
            env={"PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1"},
        )
        for s, a in zip(sshds, argvs, strict=True)
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
    return ["bash", "-c", text]


def folder(member: Member, g: Gang) -> Path:
    """Where a member's part of a gang lies on this machine."""
    return Path(member.cwd).parent / "home" / "gangs" / g.name


async def watch(g, record=None):
    async with GangHook(g) as hook:
        return await Watch(hook, logging.getLogger("test"), record).until_the_end()


async def run(g, record=None):
    async with GangHook(g) as hook:
        decision, started = await hook.launch()
    return decision, await watch(started, record)


async def until(true: Callable[[], object], seconds: float = 40) -> None:
    """Until something is so."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            if true():
                return
        except FileNotFoundError:
            pass
        assert time.monotonic() < deadline, "it never came to be"
        await asyncio.sleep(0.05)


def told(caplog, host: str) -> list[str]:
    """What one host's job printed, as the task's log has it."""
    lines = [line for m in caplog.messages for line in m.splitlines()]
    return [line.removeprefix(f"[{host}] ") for line in lines if line.startswith(f"[{host}] ")]


def left(g: Gang) -> list[Path]:
    """Processes of a try, wherever they are."""
    mark = f"{commands.MARKER}={g.marker}".encode()
    found = []
    for p in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (p / "environ").read_bytes().split(b"\0"):
                found.append(p)
        except OSError:
            continue
    return found
