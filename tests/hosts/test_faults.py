"""Faults, each injected into a real gang over real sshd; those that take minutes are in `test_chaos.py`."""

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
from tests.hosts.gangs import GANG, bash, gang, gang_folder, log_lines, remaining_processes, run, until

LOG = logging.getLogger("test")
RANK = "import os, sys, time; print('rank', os.environ['RANK'], 'is up', flush=True); time.sleep(600)"


def torchrun(sshds, program=RANK, grace=5, **more):
    """Two hosts with two ranks each, by the real torchrun.

    Hosts do not meet at a rendezvous, so that a fault stays on its host.
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


async def _watched_too_late(g):
    """Watch only when every member has ended, as on a machine that is busy."""
    async with await launched(g) as hook:
        for m in g.members:
            await until((gang_folder(m, g) / "exit").exists)
        return await Watch(hook, LOG, None).until_the_end()


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
                for p in children(g, 1)["rank"]
                if b"RANK=1" in Path(f"/proc/{p}/environ").read_bytes().split(b"\0")
            )
            os.kill(victim, signal.SIGKILL)
            killed = time.monotonic()
            event = await watching
            return g, event, time.monotonic() - killed

    g, event, took = asyncio.run(go())
    assert event.failed_host == "b", event
    assert event.failed_rank == 1, event
    assert event.reason.startswith("b rank 1: killed by signal 9"), event
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


def test_a_log_with_broken_utf8_and_no_last_newline_arrives_whole(sshds, caplog, tmp_path):
    caplog.set_level(logging.INFO)
    g = gang(sshds, bash(r"printf 'good\nbad \xff\xfe end\n损失'"))
    assert asyncio.run(run(g, FolderRecorder(tmp_path / "r", GANG)))[1].ok
    for host in "ab":
        assert log_lines(caplog, host) == ["good", "bad \ufffd\ufffd end", "损失"]
        assert (
            tmp_path / "r" / "logs" / f"{g.name}.try1.{host}.log"
        ).read_bytes() == b"good\nbad \xff\xfe end\n" + "损失".encode()


def test_an_endless_log_is_recorded_whole_and_does_not_block_the_event_loop(sshds, caplog, tmp_path):
    """200 MB from each of two hosts: the task's log stays small, and the recorded one is complete."""
    caplog.set_level(logging.INFO)
    program = (
        "import sys; line = b'x' * 99 + b'\\n'; "
        "[sys.stdout.buffer.write(line * 1000) for _ in range(2000)]; print('end', flush=True)"
    )
    g = gang(sshds, [sys.executable, "-c", program])

    async def go():
        worst = 0.0

        def now():
            # Without the time that this thread waited for a processor, on a machine that is busy.
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
    expected = hashlib.sha256((b"x" * 99 + b"\n") * 2_000_000 + b"end\n").hexdigest()
    for host in "ab":
        with (tmp_path / "r" / "logs" / f"{g.name}.try1.{host}.log").open("rb") as f:
            assert hashlib.file_digest(f, "sha256").hexdigest() == expected
    assert sum(map(len, caplog.messages)) < 60e6
    assert any("lines not shown" in m for m in caplog.messages)


def test_a_killed_watcher_is_replaced_without_losing_or_repeating_a_line(sshds, tmp_path):
    """A real process that watches, and SIGKILL."""
    script = """
import asyncio, logging, sys
sys.path[:0] = [{root!r}, {root!r} + "/plugins"]
from ssh_gang.model import Gang
from ssh_gang.hook import GangHook
from ssh_gang.watch import Watch
stream = open({log!r}, "a", buffering=1)
logging.basicConfig(stream=stream, format="%(message)s", level=logging.INFO, force=True)
async def go():
    async with GangHook(Gang.model_validate_json(open({gang!r}).read())) as hook:
        await Watch(hook, logging.getLogger("watch"), None).until_the_end()
asyncio.run(go())
"""
    log, end = tmp_path / "task.log", tmp_path / "end"
    log.touch()
    g = gang(
        sshds, bash(f"n=0; while [ ! -e {end} ]; do n=$((n+1)); echo line $n; sleep 0.01; done; echo over $n")
    )
    (tmp_path / "gang.json").write_text(g.model_dump_json())
    (tmp_path / "watch.py").write_text(
        script.format(root=str(ROOT), log=str(log), gang=str(tmp_path / "gang.json"))
    )

    acknowledged: list[dict[str, int]] = []

    def lines_acknowledged(member):
        at = gang_folder(member, g)
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
                        lines_acknowledged(m) > (acknowledged[-1][m.host] if acknowledged else 0)
                        for m in g.members
                    )
                )
                acknowledged.append({m.host: lines_acknowledged(m) for m in g.members})
                watcher.kill()
                watcher.wait()
        end.touch()
        assert await asyncio.to_thread(watcher.wait, 30) == 0, watcher.stderr.read()

    asyncio.run(go())
    for host in "ab":
        printed = [
            text.split()[1:]
            for text in log.read_text().splitlines()
            if text.startswith((f"[{host}] line", f"[{host}] over"))
        ]
        total = int(printed[-1][1])
        numbers = [int(number) for _, number in printed[:-1]]
        assert sorted(set(numbers)) == list(range(1, total + 1)), "a line was lost"
        # What was logged but not yet acknowledged at the kill comes again; nothing else does.
        assert all(numbers.count(n) == 1 for n in range(1, acknowledged[0][host] + 1)), (
            "an acknowledged line was logged again"
        )
        assert all(numbers.count(n) <= 2 for n in range(1, acknowledged[1][host] + 1))


def test_a_worker_killed_before_the_start_signal_leaves_nothing_behind(sshds, tmp_path):
    """SIGKILL to a real process that has prepared the hosts: the next attempt starts, that one never."""
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
    # Airflow prints something of its own first.
    assert b"prepared\n" in iter(worker.stdout.readline, b"")
    assert len(remaining_processes(g)) >= 2
    worker.kill()
    worker.wait()

    async def again():
        # The session that ended cancels the start, without help.
        await until(lambda: remaining_processes(g) == [])
        return await run(g.model_copy(update={"attempt": "try2"}))

    decision, event = asyncio.run(again())
    assert decision is Decision.TERMINAL_RESUBMIT
    assert event.ok
    assert len((tmp_path / "went").read_text().split()) == 2


def test_a_task_cleared_twice_within_a_second_never_runs_twice(sshds, tmp_path):
    """Two attempts start at once beside a third that runs: the newest may start or fail; never two run."""

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
        running = [t for t in [first, *tries] if remaining_processes(t)]
        # The old trigger's on_kill comes now, late; and Airflow retries what failed.
        async with GangHook(first) as hook:
            await hook.stop("try1")
        last = first.model_copy(update={"attempt": "try4", "generation": 3, "fencing_token": 4})
        async with GangHook(last) as hook:
            _, running_gang = await hook.launch()
            alive = [g for g in [first, *tries, last] if remaining_processes(g)]
            assert [g.attempt for g in alive] == [running_gang.attempt]
            await hook.stop(None)
        return results, running, alive

    results, running, alive = asyncio.run(go())
    assert len(running) <= 1, results
    assert all(isinstance(r, (tuple, GangError)) for r in results), results
    assert [g for g in alive if remaining_processes(g)] == []


def test_two_exclusive_gangs_on_the_same_hosts_run_one_after_the_other(sshds, tmp_path):
    async def go():
        one = gang(sshds, bash("sleep 600"), exclusive=True)
        two = one.model_copy(update={"name": "dag.train.other", "attempt": "other"})
        results = []
        for g in (one, two):
            async with GangHook(g) as hook:
                results.append((await asyncio.gather(hook.launch(), return_exceptions=True))[0])
        assert isinstance(results[0], tuple), results
        assert isinstance(results[1], HostsBusy), results
        assert str(results[1]) == f"a: {one.marker} runs there"
        waiting = asyncio.create_task(anext(HostsFreeTrigger(two.model_dump(mode="json")).run()))
        done, _ = await asyncio.wait({waiting}, timeout=1)
        assert not done
        async with GangHook(one) as hook:
            await hook.stop("try1")
        assert (await asyncio.wait_for(waiting, 20)).payload["free"]
        async with GangHook(two) as hook:
            await hook.launch()
            assert remaining_processes(two) != []
            await hook.stop(None)
        return one, two

    assert [remaining_processes(g) for g in asyncio.run(go())] == [[], []]


def test_waiting_for_busy_hosts_ends_at_the_queue_limit(sshds):
    async def go():
        one = gang(sshds, bash("sleep 600"), exclusive=True)
        async with GangHook(one) as hook:
            await hook.launch()
            two = one.model_copy(update={"name": "dag.train.other", "limits": Limits(queue=1)})
            event = await anext(HostsFreeTrigger(two.model_dump(mode="json")).run())
            await hook.stop(None)
        return event.payload

    event = asyncio.run(go())
    assert not event["free"]
    assert event["reason"].startswith("its hosts were not free for 1 s (limit queue)")


@pytest.mark.sshd_options("MaxStartups 1")
def test_connect_tries_again_when_sshd_drops_connections(sshds):
    """Ten connections at once, where sshd accepts one at a time."""

    async def go():
        connections = await asyncio.gather(*(connect("a", sshds[0].conn_id, 20) for _ in range(10)))
        for c in connections:
            c.close()
        return len(connections)

    assert asyncio.run(go()) == 10


@pytest.mark.hosts(16)
def test_a_gang_runs_on_sixteen_hosts(sshds):
    g = gang(sshds, bash("sleep 0.5"))
    _, event = asyncio.run(run(g))
    assert event.ok
    assert event.launch_skew < 2


def test_a_gang_that_ended_before_it_was_watched_has_its_launch_skew(sshds):
    """The first state report has all of it, except for the hosts' clocks."""
    assert asyncio.run(_watched_too_late(gang(sshds, bash("true")))).launch_skew < 2


def _an_hour_off(sshd, folder):
    """Restart the host's sshd with a library that shifts the clock of every process under it."""
    shift = folder / "shift.so"
    (folder / "shift.c").write_text(
        """\
#define _GNU_SOURCE
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
int gettimeofday(struct timeval *t, void *z) {
  int r = syscall(SYS_gettimeofday, t, z);
  t->tv_sec -= 3600;
  return r;
}
int clock_gettime(clockid_t c, struct timespec *t) {
  int r = syscall(SYS_clock_gettime, c, t);
  if (c == CLOCK_REALTIME) t->tv_sec -= 3600;
  return r;
}
time_t time(time_t *t) {
  struct timespec s;
  clock_gettime(CLOCK_REALTIME, &s);
  if (t) *t = s.tv_sec;
  return s.tv_sec;
}
"""
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
    assert event.failed_host == "a", event
    assert "exit code 3" in event.reason, event
    assert event.launch_skew < 2, event
    state = parse_line(asyncio.run(_look(g, 1))).state
    assert abs(time.time() - state.started_at - 3600) < 60, "the clock was not shifted"


async def _look(g, number):
    async with GangHook(g) as hook:
        return (await hook.run(g.members[number], commands.query_state_command(g))).decode()
