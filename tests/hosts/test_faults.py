"""Faults, each injected into a real gang over real sshd. What cuts links or takes minutes is in `test_chaos.py`."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ssh_gang import commands
from ssh_gang.errors import GangError, HostsBusy
from ssh_gang.folder_recorder import FolderRecorder
from ssh_gang.hook import GangHook
from ssh_gang.model import Limits
from ssh_gang.protocol import parse_line
from ssh_gang.resume import Decision
from ssh_gang.ssh import connect
from ssh_gang.trigger import HostsFreeTrigger
from ssh_gang.watch import Watch
from tests.conftest import ROOT
from tests.hosts.gangs import GANG, bash, folder, gang, left, run, told, until

LOG = logging.getLogger("test")
RANK = "import os, sys, time; print('rank', os.environ['RANK'], 'is up', flush=True); time.sleep(600)"


def torchrun(sshds, program=RANK, grace=5, **more):
    """Two hosts with two ranks each, by the real torchrun; no rendezvous between hosts, so that each is alone with its fault."""
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
        await until(lambda m=m: folder(m, g).joinpath("output").read_text().count("is up") == ranks)


async def _watched_too_late(g):
    """The watcher comes when all have ended already, as on a machine that is busy."""
    async with await launched(g) as hook:
        for m in g.members:
            await until((folder(m, g) / "exit").exists)
        return await Watch(hook, LOG, None).until_the_end()


def children(g, host: int) -> dict[str, list[int]]:
    """Processes of a gang's member on one of the test's hosts, by what they are."""
    home = str(folder(g.members[host], g))
    found: dict[str, list[int]] = {"wrapper": [], "torchrun": [], "rank": []}
    for p in left(g):
        env = (p / "environ").read_bytes().split(b"\0")
        if not any(e.startswith(b"HOME=") and home.startswith(e[5:].decode()) for e in env):
            continue
        line = (p / "cmdline").read_bytes()
        kind = "wrapper" if b"job.sh" in line else "torchrun" if b"torchrun" in line else "rank"
        found[kind].append(int(p.name))
    return found


def test_a_rank_killed_is_blamed_by_its_number_and_everything_is_gone(sshds, tmp_path):
    """With a peer that ends too, a second later, as one does whose neighbour is gone."""

    async def go():
        g = torchrun(sshds)
        async with await launched(g) as hook:
            watching = asyncio.create_task(
                Watch(hook, LOG, FolderRecorder(tmp_path / "r", GANG)).until_the_end()
            )
            await until_up(g)
            victim = next(
                p
                for p in children(g, 1)["rank"]
                if b"RANK=1" in Path(f"/proc/{p}/environ").read_bytes().split(b"\0")
            )
            os.kill(victim, signal.SIGKILL)
            killed = time.monotonic()
            event = await watching
            return g, event, time.monotonic() - killed

    g, event, took = asyncio.run(go())
    assert (
        event.failed_host == "b"
        and event.failed_rank == 1
        and event.reason.startswith("b rank 1: killed by signal 9")
    ), event
    assert event.tail.strip() == "rank 1 is up"
    assert left(g) == []
    # Far below the 30 s that torchrun gives its other rank, and the 300 s of its exit barrier.
    assert took < 20


def test_torchrun_killed(sshds):
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
    assert left(g) == []


def test_every_process_of_a_host_killed_as_by_a_restart(sshds):
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
    assert left(g) == []


def test_ranks_that_do_not_obey_are_killed_after_the_grace(sshds):
    async def go():
        g = torchrun(
            sshds,
            "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('is up', flush=True); time.sleep(600)",
            grace=2,
        )
        async with await launched(g) as hook:
            await until_up(g)
            assert await hook.stop(g.attempt) == {"a": 0, "b": 0}
            return g

    assert left(asyncio.run(go())) == []


def test_a_program_that_never_starts_its_ranks(sshds):
    g = gang(sshds, ["sleep", "600"], limits=Limits(connect=10, prepare=10, grace=1, rendezvous=1.5), ranks=4)
    _, event = asyncio.run(run(g))
    assert "not every rank has started: a 0 of 4, b 0 of 4 (limit rendezvous)" in event.reason
    assert left(g) == []


def test_one_host_refuses_to_arm_and_is_named(sshds):
    (sshds[1].folder / "work").write_text("a file where the folder should be")
    g = gang(sshds, ["true"])
    with pytest.raises(GangError, match="^b: cannot be prepared: can('t|not) enter"):
        asyncio.run(run(g))
    assert left(g) == []
    assert not (folder(g.members[0], g) / "started").exists()


def test_a_full_disk_is_said(sshds):
    """A disk of its own for one host's work; tests that mount need root."""
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
    assert event.failed_host == "b" and f"its disk is full (0 MiB under {work} free)" in event.reason, event
    assert left(g) == []


def test_a_log_with_broken_utf8_and_no_last_newline(sshds, caplog, tmp_path):
    caplog.set_level(logging.INFO)
    g = gang(sshds, bash(r"printf 'good\nbad \xff\xfe end\n损失'"))
    assert asyncio.run(run(g, FolderRecorder(tmp_path / "r", GANG)))[1].ok
    for host in "ab":
        assert told(caplog, host) == ["good", "bad \ufffd\ufffd end", "损失"]
        assert (
            tmp_path / "r" / "logs" / f"{g.name}.try1.{host}.log"
        ).read_bytes() == b"good\nbad \xff\xfe end\n" + "损失".encode()


def test_a_rank_that_logs_without_end(sshds, caplog, tmp_path):
    """200 MB from each of two: the log in the UI stays small, the whole one is complete, and the loop is never held up."""
    caplog.set_level(logging.INFO)
    words = f"import hashlib, sys; line = b'x' * 99 + b'\\n'; [sys.stdout.buffer.write(line * 1000) for _ in range(2000)]; print('{'end'}', flush=True)"
    g = gang(sshds, [sys.executable, "-c", words])

    async def go():
        worst = 0.0

        def now():
            # Without the time that this thread stood in the kernel's queue, for a machine that is busy with something else.
            return time.monotonic() - int(Path("/proc/thread-self/schedstat").read_text().split()[1]) / 1e9

        async def heartbeat():
            nonlocal worst
            while True:
                before = now()
                await asyncio.sleep(0.02)
                worst = max(worst, now() - before - 0.02)

        beating = asyncio.create_task(heartbeat())
        _, event = await run(g, FolderRecorder(tmp_path / "r", GANG))
        beating.cancel()
        return event, worst

    event, worst = asyncio.run(go())
    assert event.ok
    assert worst < 2.0
    want = hashlib.sha256((b"x" * 99 + b"\n") * 2_000_000 + b"end\n").hexdigest()
    for host in "ab":
        with (tmp_path / "r" / "logs" / f"{g.name}.try1.{host}.log").open("rb") as f:
            assert hashlib.file_digest(f, "sha256").hexdigest() == want
    assert sum(map(len, caplog.messages)) < 60e6
    assert any("lines not shown" in m for m in caplog.messages)


def test_the_watcher_killed_and_another_goes_on_without_losing_or_repeating_a_line(sshds, tmp_path):
    """A real process that watches, and SIGKILL."""
    script = """
import asyncio, logging, sys
sys.path[:0] = [{root!r}, {root!r} + "/plugins"]
from ssh_gang.model import Gang
from ssh_gang.hook import GangHook
from ssh_gang.watch import Watch
logging.basicConfig(stream=open({log!r}, "a", buffering=1), format="%(message)s", level=logging.INFO, force=True)
async def go():
    async with GangHook(Gang.model_validate_json(open({gang!r}).read())) as hook:
        await Watch(hook, logging.getLogger("watch"), None).until_the_end()
asyncio.run(go())
"""
    log, end = tmp_path / "told.log", tmp_path / "end"
    log.touch()
    g = gang(
        sshds, bash(f"n=0; while [ ! -e {end} ]; do n=$((n+1)); echo line $n; sleep 0.01; done; echo over $n")
    )
    (tmp_path / "gang.json").write_text(g.model_dump_json())
    (tmp_path / "watch.py").write_text(
        script.format(root=str(ROOT), log=str(log), gang=str(tmp_path / "gang.json"))
    )

    confirmed: list[dict[str, int]] = []

    def lines_confirmed(member):
        at = folder(member, g)
        taken = int((at / "acknowledged").read_text())
        return (at / "output").read_bytes()[:taken].count(b"\n")

    async def go():
        async with GangHook(g) as hook:
            await hook.launch()
        for number in range(3):
            seen = len(log.read_text().splitlines())
            watcher = subprocess.Popen([sys.executable, str(tmp_path / "watch.py")], stderr=subprocess.PIPE)
            await until(lambda seen=seen: len(log.read_text().splitlines()) > seen + 100)
            if number < 2:
                await until(
                    lambda: all(
                        lines_confirmed(m) > (confirmed[-1][m.host] if confirmed else 0) for m in g.members
                    )
                )
                confirmed.append({m.host: lines_confirmed(m) for m in g.members})
                watcher.kill()
                watcher.wait()
        end.touch()
        assert await asyncio.to_thread(watcher.wait, 30) == 0, watcher.stderr.read()

    asyncio.run(go())
    for host in "ab":
        said = [
            text.split()[1:]
            for text in log.read_text().splitlines()
            if text.startswith((f"[{host}] line", f"[{host}] over"))
        ]
        total = int(said[-1][1])
        numbers = [int(number) for _, number in said[:-1]]
        assert sorted(set(numbers)) == list(range(1, total + 1)), "a line was lost"
        # What was told, and not yet confirmed at the kill, comes again; nothing else does.
        assert all(numbers.count(n) == 1 for n in range(1, confirmed[0][host] + 1)), (
            "a confirmed line was told again"
        )
        assert all(numbers.count(n) <= 2 for n in range(1, confirmed[1][host] + 1))


def test_the_worker_killed_between_the_claim_and_the_word(sshds, tmp_path):
    """A real process that has armed the first host, and SIGKILL: the next try starts afresh, and nothing of the first runs."""
    script = """
import asyncio, sys
sys.path[:0] = [{root!r}, {root!r} + "/plugins"]
from ssh_gang.model import Gang
from ssh_gang.hook import GangHook
class Slow(GangHook):
    async def _signal_start(self, prepared):
        print("prepared", flush=True)
        await asyncio.sleep(600)
async def go():
    async with Slow(Gang.model_validate_json(open({gang!r}).read())) as hook:
        await hook.launch()
asyncio.run(go())
"""
    g = gang(sshds, bash(f"echo $$ >>{tmp_path}/went"))
    (tmp_path / "gang.json").write_text(g.model_dump_json())
    (tmp_path / "worker.py").write_text(script.format(root=str(ROOT), gang=str(tmp_path / "gang.json")))
    worker = subprocess.Popen([sys.executable, str(tmp_path / "worker.py")], stdout=subprocess.PIPE)
    # Airflow says something of its own first.
    assert b"prepared\n" in iter(worker.stdout.readline, b"")
    assert len(left(g)) >= 2
    worker.kill()
    worker.wait()

    async def again():
        # Disarmed by the line that ended, without anybody's help.
        await until(lambda: left(g) == [])
        return await run(g.model_copy(update={"attempt": "try2"}))

    decision, event = asyncio.run(again())
    assert decision is Decision.TERMINAL_RESUBMIT
    assert event.ok
    assert len((tmp_path / "went").read_text().split()) == 2


def test_cleared_twice_within_a_second(sshds, tmp_path):
    """Two tries start at once, with a third one's ranks still running: the newest may win or fail, but never two run."""

    async def go():
        first = gang(sshds, bash("sleep 600"), attempt="try1", fencing_token=1)
        async with GangHook(first) as hook:
            await hook.launch()
        tries = [
            first.model_copy(update={"attempt": f"try{n}", "generation": n, "fencing_token": n})
            for n in (2, 3)
        ]

        async def start(g):
            async with GangHook(g) as hook:
                return await hook.launch()

        results = await asyncio.gather(*(start(t) for t in tries), return_exceptions=True)
        running = [t for t in [first, *tries] if left(t)]
        # The old trigger's on_kill comes now, late; and Airflow tries again whatever failed.
        async with GangHook(first) as hook:
            await hook.stop("try1")
        last = first.model_copy(update={"attempt": "try4", "generation": 3, "fencing_token": 4})
        async with GangHook(last) as hook:
            _, found = await hook.launch()
            alive = [g for g in [first, *tries, last] if left(g)]
            assert [g.attempt for g in alive] == [found.attempt]
            await hook.stop(None)
        return results, running, alive

    results, running, alive = asyncio.run(go())
    assert len(running) <= 1, results
    assert all(isinstance(r, (tuple, GangError)) for r in results), results
    assert [g for g in alive if left(g)] == []


def test_two_runs_at_once_on_the_same_hosts_wait_for_one_another(sshds, tmp_path):
    async def go():
        one = gang(sshds, bash("sleep 600"), exclusive=True)
        two = one.model_copy(update={"name": "dag.train.other", "attempt": "other"})
        results = []
        for g in (one, two):
            async with GangHook(g) as hook:
                results.append((await asyncio.gather(hook.launch(), return_exceptions=True))[0])
        assert isinstance(results[0], tuple) and isinstance(results[1], HostsBusy), results
        assert str(results[1]) == f"a: {one.marker} runs there"
        waiting = asyncio.create_task(anext(HostsFreeTrigger(two.model_dump(mode="json")).run()))
        await asyncio.sleep(1)
        assert not waiting.done()
        async with GangHook(one) as hook:
            await hook.stop("try1")
        assert (await asyncio.wait_for(waiting, 20)).payload["free"]
        async with GangHook(two) as hook:
            await hook.launch()
            assert left(two) != []
            await hook.stop(None)
        return one, two

    assert [left(g) for g in asyncio.run(go())] == [[], []]


def test_waiting_for_the_hosts_has_a_limit(sshds):
    async def go():
        one = gang(sshds, bash("sleep 600"), exclusive=True)
        async with GangHook(one) as hook:
            await hook.launch()
            two = one.model_copy(update={"name": "dag.train.other", "limits": Limits(queue=1)})
            event = await anext(HostsFreeTrigger(two.model_dump(mode="json")).run())
            await hook.stop(None)
        return event.payload

    assert asyncio.run(go()) == {"free": False, "reason": "its hosts were not free for 1 s (limit queue)"}


@pytest.mark.sshd_options("MaxStartups 1")
def test_an_sshd_that_turns_connections_away(sshds):
    """Ten at once, where sshd lets one in at a time."""

    async def go():
        connections = await asyncio.gather(*(connect("a", sshds[0].conn_id, 20) for _ in range(10)))
        for c in connections:
            c.close()
        return len(connections)

    assert asyncio.run(go()) == 10


@pytest.mark.hosts(16)
def test_sixteen_hosts_by_the_same_code(sshds):
    g = gang(sshds, bash("sleep 0.5"))
    _, event = asyncio.run(run(g))
    assert event.ok
    assert event.launch_skew < 2


def test_a_gang_that_ended_before_anyone_watched_has_its_skew(sshds):
    """Nothing printed, and ended: all of it is known from the first word, but for the hosts' clocks."""
    assert asyncio.run(_watched_too_late(gang(sshds, bash("true")))).launch_skew < 2


def _an_hour_off(sshd, folder):
    """The host's sshd is started with a library that shifts the clock of everything under it."""
    shift = folder / "shift.so"
    (folder / "shift.c").write_text(
        "#define _GNU_SOURCE\n#include <sys/syscall.h>\n#include <sys/time.h>\n#include <time.h>\n#include <unistd.h>\n"
        "int gettimeofday(struct timeval *t, void *z) { int r = syscall(SYS_gettimeofday, t, z); t->tv_sec -= 3600; return r; }\n"
        "int clock_gettime(clockid_t c, struct timespec *t) { int r = syscall(SYS_clock_gettime, c, t); if (c == CLOCK_REALTIME) t->tv_sec -= 3600; return r; }\n"
        "time_t time(time_t *t) { struct timespec s; clock_gettime(CLOCK_REALTIME, &s); if (t) *t = s.tv_sec; return s.tv_sec; }\n"
    )
    subprocess.run(
        ["g++", "-x", "c", "-shared", "-fPIC", "-o", str(shift), str(folder / "shift.c")], check=True
    )
    config = sshd.folder / "sshd_config"
    sshd.stop()
    config.write_text(config.read_text().replace("SetEnv ", f"SetEnv LD_PRELOAD={shift} "))
    sshd.start()


@pytest.mark.parametrize("late", [False, True])
def test_a_clock_an_hour_off_changes_neither_the_skew_nor_the_blame(sshds, tmp_path, late):
    _an_hour_off(sshds[1], tmp_path)
    # By the clocks as they are, b failed an hour before a.
    g = gang(sshds, [bash("sleep 1; exit 3"), bash("sleep 1.5; exit 4")])
    event = asyncio.run(_watched_too_late(g)) if late else asyncio.run(run(g))[1]
    assert event.failed_host == "a" and "exit code 3" in event.reason and event.launch_skew < 2, event
    state = parse_line(asyncio.run(_look(g, 1))).state
    assert abs(time.time() - state.started_at - 3600) < 60, "the clock was not shifted"


async def _look(g, number):
    async with GangHook(g) as hook:
        return (await hook.run(g.members[number], commands.query_state_command(g))).decode()
