"""A task's own process is killed, or the task is cleared: another attempt takes over on the hosts."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

from ssh_gang.errors import GangError
from ssh_gang.hook import GangHook
from ssh_gang.model import Gang
from ssh_gang.resume import Decision
from tests.conftest import ROOT
from tests.hosts.gangs import bash, gang, gang_folder, remaining_processes, run
from tests.waiting import until


def program(folder: Path, g: Gang, source: str) -> list[str]:
    """The command of a Python process of its own that runs `go()` with the gang as `gang`."""
    plan, script = folder / "gang.json", folder / "program.py"
    plan.write_text(g.model_dump_json())
    script.write_text(
        f"""
import asyncio, sys
sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / "plugins")!r}]
# Airflow sets logging up when it is imported; in a task that was long ago.
import ssh_gang.checking_hook
from ssh_gang.hook import GangHook
from ssh_gang.model import Gang
gang = Gang.model_validate_json(open({str(plan)!r}).read())
{source}
asyncio.run(go())
"""
    )
    return [sys.executable, str(script)]


def test_a_killed_watcher_is_replaced_without_losing_or_repeating_a_line(sshds, tmp_path):
    """A real process that watches, and SIGKILL."""
    log, end = tmp_path / "task.log", tmp_path / "end"
    log.touch()
    g = gang(
        sshds, bash(f"n=0; while [ ! -e {end} ]; do n=$((n+1)); echo line $n; sleep 0.01; done; echo over $n")
    )
    command = program(
        tmp_path,
        g,
        f"""
import logging
from ssh_gang.watch import Watch
stream = open({str(log)!r}, "a", buffering=1)
logging.basicConfig(stream=stream, format="%(message)s", level=logging.INFO, force=True)
async def go():
    async with GangHook(gang) as hook:
        await Watch(hook, logging.getLogger("watch"), None).until_the_end()
""",
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
            watcher = subprocess.Popen(command, stderr=subprocess.PIPE)
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
                watcher.communicate()
        end.touch()
        _, stderr = await asyncio.to_thread(watcher.communicate, timeout=30)
        assert watcher.returncode == 0, stderr

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
    g = gang(sshds, bash(f"echo $$ >>{tmp_path}/went"))
    command = program(
        tmp_path,
        g,
        """
class Slow(GangHook):
    async def _signal_start(self, prepared):
        print("prepared", flush=True)
        await asyncio.sleep(600)
async def go():
    async with Slow(gang) as hook:
        await hook.launch()
""",
    )
    with subprocess.Popen(command, stdout=subprocess.PIPE) as worker:
        # Airflow prints something of its own first.
        assert b"prepared\n" in iter(worker.stdout.readline, b"")
        assert len(remaining_processes(g)) >= 2
        worker.kill()

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
