"""Faults of a job's own processes and its disk, each injected into a real gang over real sshd."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from ssh_gang.errors import GangError
from ssh_gang.folder_recorder import FolderRecorder
from ssh_gang.hook import GangHook
from ssh_gang.model import Limits
from ssh_gang.watch import Watch
from tests.hosts.gangs import GANG, gang, gang_folder, remaining_processes, run
from tests.waiting import until

LOG = logging.getLogger("test")


RANK = "import os, sys, time; print('rank', os.environ['RANK'], 'is up', flush=True); time.sleep(600)"


def torchrun(sshds, program=RANK, grace=5, **more):
    """Two hosts with two ranks each, by the real torchrun.

    Hosts do not meet at a rendezvous, so that a fault stays on its host. The second one's ranks are 0 and 1
    too, and not 2 and 3 as in a gang that trains.
    """
    argvs = [
        ["torchrun", "--standalone", "--nproc_per_node=2", "--no-python", "python", "-c", program]
        for _ in sshds
    ]
    return gang(sshds, argvs, limits=Limits(connect=10, prepare=10, grace=grace), ranks=2, torch=True, **more)


async def launched(g):
    hook = GangHook(g)
    await hook.launch()
    return hook


async def until_up(g, ranks=2):
    for m in g.members:
        await until(lambda m=m: gang_folder(m, g).joinpath("output").read_text().count("is up") == ranks)


def children(g, host: int) -> dict[str, list[int]]:
    """Processes of a member on one of the test's hosts, by kind."""
    home = str(gang_folder(g.members[host], g))
    pids: dict[str, list[int]] = {"wrapper": [], "torchrun": [], "rank": []}
    for p in remaining_processes(g):
        env = (p / "environ").read_bytes().split(b"\0")
        if not any(e.startswith(b"HOME=") and home.startswith(e[5:].decode()) for e in env):
            continue
        line = (p / "cmdline").read_bytes()
        kind = "wrapper" if b"job.sh" in line else "torchrun" if b"torchrun" in line else "rank"
        pids[kind].append(int(p.name))
    return pids


def test_a_killed_rank_is_blamed_by_its_number_and_no_process_is_left(sshds, tmp_path):
    """With a peer that ends too, a second later, because its neighbour is gone."""

    async def go():
        g = torchrun(sshds)
        async with await launched(g) as hook:
            watching = asyncio.create_task(
                Watch(hook, LOG, FolderRecorder(tmp_path / "r", GANG)).until_the_end()
            )
            await until_up(g)
            victim = next(
                p
                for p in children(g, 0)["rank"]
                if b"RANK=1" in Path(f"/proc/{p}/environ").read_bytes().split(b"\0")
            )
            os.kill(victim, signal.SIGKILL)
            killed = time.monotonic()
            event = await watching
            return g, event, time.monotonic() - killed

    g, event, took = asyncio.run(go())
    assert event.failed_host == "a", event
    assert event.failed_rank == 1, event
    assert event.reason.startswith("a rank 1: killed by signal 9"), event
    assert event.tail.strip() == "rank 1 is up"
    assert remaining_processes(g) == []
    # Far below the 30 s that torchrun gives its other rank, and the 300 s of its exit barrier.
    assert took < 20


def test_a_killed_torchrun_is_blamed_on_its_host(sshds):
    async def go():
        g = torchrun(sshds)
        async with await launched(g) as hook:
            watching = asyncio.create_task(Watch(hook, LOG, None).until_the_end())
            await until_up(g)
            os.kill(children(g, 0)["torchrun"][0], signal.SIGKILL)
            return g, await watching

    g, event = asyncio.run(go())
    assert event.failed_host == "a"
    assert "killed by signal 9" in event.reason
    assert remaining_processes(g) == []


def test_a_host_whose_processes_are_all_killed_is_lost(sshds):
    async def go():
        g = torchrun(sshds)
        async with await launched(g) as hook:
            watching = asyncio.create_task(Watch(hook, LOG, None).until_the_end())
            await until_up(g)
            for pids in children(g, 1).values():
                for pid in pids:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
            return g, await watching

    g, event = asyncio.run(go())
    assert event.failed_host == "b"
    assert "lost" in event.reason
    assert remaining_processes(g) == []


def test_ranks_that_ignore_sigterm_are_killed_after_the_grace_period(sshds):
    async def go():
        g = torchrun(
            sshds,
            "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
            "print('is up', flush=True); time.sleep(600)",
            grace=2,
        )
        async with await launched(g) as hook:
            await until_up(g)
            assert await hook.stop(g.attempt) == {"a": 0, "b": 0}
            return g

    assert remaining_processes(asyncio.run(go())) == []


def test_a_program_that_never_starts_its_ranks_exceeds_the_rendezvous_limit(sshds):
    g = gang(sshds, ["sleep", "600"], limits=Limits(connect=10, prepare=10, grace=1, rendezvous=1.5), ranks=4)
    _, event = asyncio.run(run(g))
    assert "not every rank has started: a 0 of 4, b 0 of 4 (limit rendezvous)" in event.reason
    assert remaining_processes(g) == []


def test_a_host_that_cannot_be_prepared_is_named(sshds):
    (sshds[1].folder / "work").write_text("a file where the folder should be")
    g = gang(sshds, ["true"])
    with pytest.raises(GangError, match="^b: cannot be prepared: can('t|not) enter"):
        asyncio.run(run(g))
    assert remaining_processes(g) == []
    assert not (gang_folder(g.members[0], g) / "started").exists()


def test_a_full_disk_is_named_in_the_reason(sshds):
    """One host works on a small disk of its own, which takes root to mount."""
    if os.geteuid():
        pytest.skip("mounting a small disk takes root")
    work = sshds[1].folder / "work"
    work.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(work)], check=True)
    try:
        save = "import torch; print('is up', flush=True); torch.save(torch.zeros(1 << 20), 'iter_10.pth')"
        g = torchrun(sshds, save)
        event = asyncio.run(run(g))[1]
    finally:
        subprocess.run(["umount", str(work)], check=True)
    assert event.failed_host == "b", event
    assert f"its disk is full (0 MiB under {work} free)" in event.reason, event
    assert remaining_processes(g) == []
