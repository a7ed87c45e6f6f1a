"""Watchers and runs that are killed while commits arrive: none is missed, none is given to two runs.

These are the two programs of ours between a push and its run: what the triggerer runs, and the claim of
`plan`. Processes are forked, so that a kill may come at any moment of their work, and 200 take half a minute.
Airflow's own processes are killed in `tests/chain/test_revisions.py`.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import huggingface_hub.hf_api  # noqa: F401 # before the first fork: a child has no time to import it
import pytest

from sqltune.records import database, revisions
from sqltune.records.revisions import Feed, State
from sqltune.revisions.history import follow
from tests.changing_hub import NAME, ChangingHub
from tests.conftest import serving

FEED = Feed("lab", "lab_tiny", NAME)
LONGEST = 0.15
"""Seconds that a process lives at first at most; a look at the hub takes a few hundredths."""


def forked(work: Callable[[], None]) -> int:
    """Run something again and again in a process of its own; its pid."""
    pid = os.fork()
    if pid == 0:
        try:
            while True:
                work()
        finally:
            os._exit(1)
    return pid


def watch(url: str) -> None:
    follow(FEED, url, "watcher")


def claim(run: str, log: Path) -> None:
    """Claim everything that waits, as the run `run`; note whose each is then."""
    for revision in revisions.listed(FEED):
        owner = revisions.claim(
            FEED, revision.commit, f"{run} {revision.commit}", run, is_partition=True, skips_older=False
        )
        with log.open("a") as file:
            file.write(f"{owner}\n")


def kill_while_commits_arrive(hub: ChangingHub, log: Path, kills: int) -> None:
    chance = random.Random(20261129)
    longest = LONGEST
    number = 0
    # Where other work has the cores, every kill may come before the first claim: that tries nothing of it.
    while number < kills or not log.stat().st_size:
        assert number < 20 * kills, f"no claim came to its end within {longest:.1f} s"
        pids = [
            forked(lambda: watch(hub.url)),
            forked(lambda run=f"run{number}": claim(run, log)),
        ]
        chance.shuffle(pids)
        for pid in pids:
            time.sleep(chance.uniform(0, longest))
            os.kill(pid, signal.SIGKILL)
            assert os.waitpid(pid, 0)[1] == signal.SIGKILL
            if chance.random() < 0.5:
                hub.push(*(f"commit {len(hub.commits) + n}" for n in range(chance.randint(1, 3))))
        number += 2
        if not log.stat().st_size:
            longest *= 1.1


@pytest.mark.parametrize("kills", [20, pytest.param(200, marks=pytest.mark.chaos)])
def test_no_commit_is_missed_and_none_is_given_to_two_runs(engine, tmp_path, kills):
    hub = ChangingHub()
    hub.push("first")
    log = tmp_path / "owners"
    log.touch()
    with serving(hub) as hub.url:
        follow(FEED, hub.url, "watcher")
        database.close()
        kill_while_commits_arrive(hub, log, kills)
        follow(FEED, hub.url, "watcher")
        claim("last", log)
    recorded = revisions.listed(FEED)
    assert [r.commit for r in recorded] == [c.sha for c in hub.commits]
    assert {r.state for r in recorded} == {State.STARTED}
    owners: dict[str, set[str]] = {}
    # A line that a kill has cut short has no commit at its end.
    for line in log.read_text().splitlines():
        run, _, commit = line.rpartition(" ")
        owners.setdefault(commit, set()).add(run)
    assert {r.commit: {r.run_id.rpartition(" ")[0]} for r in recorded} == {
        r.commit: owners[r.commit] for r in recorded
    }
    print(f"{kills} kills, {len(recorded) - 1} commits meanwhile, {len(owners)} claimed")
    assert len({r.run_id.rpartition(" ")[0] for r in recorded}) > 1, "every kill came too early"
