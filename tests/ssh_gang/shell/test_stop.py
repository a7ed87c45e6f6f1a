"""Stopping an attempt: all of its processes, and none of another attempt's."""

from __future__ import annotations

import shlex

from ssh_gang import commands
from ssh_gang.protocol import Fenced, Stopped
from tests.ssh_gang.local_host import gang, launch, marked_processes, state, stop, until_file


def test_stop_ends_workers_in_sessions_of_their_own(tmp_path):
    # As torchrun starts them; this one ignores SIGTERM as well.
    worker = "trap '' TERM; echo up; while :; do sleep 0.1; done"
    g = gang(tmp_path, ["bash", "-c", f"setsid bash -c {shlex.quote(worker)} & wait"])
    launch(g)
    until_file(tmp_path / "gangs" / g.name / "output", b"up")
    assert stop(g) == Stopped(0)
    assert marked_processes(g) == []


def test_stop_of_a_running_gang_is_recorded(tmp_path):
    g = gang(tmp_path, ["bash", "-c", "trap '' TERM; while :; do sleep 0.1; done"], grace=0.3)
    launch(g)
    assert stop(g) == Stopped(0)
    stopped = state(g)
    assert stopped.is_terminal
    assert not stopped.succeeded


def test_stop_of_an_absent_gang_finds_nothing(tmp_path):
    assert stop(gang(tmp_path, ["true"]), None) == Stopped(0)


def test_older_attempt_cannot_stop_a_newer_one(tmp_path):
    new = gang(tmp_path, ["sleep", "30"]).model_copy(update={"fencing_token": 9})
    launch(new)
    old = new.model_copy(update={"attempt": "try0", "fencing_token": 8})
    assert stop(old, None) == Fenced("try1")
    assert state(new).is_running
    housekeeping = new.model_copy(update={"fencing_token": commands.MAX_FENCING_TOKEN})
    assert stop(housekeeping, None) == Stopped(0)


def test_stop_of_an_old_attempt_does_not_touch_a_new_one(tmp_path):
    new = gang(tmp_path, ["sleep", "30"]).model_copy(update={"attempt": "try2"})
    launch(new)
    assert stop(new, "try1") == Stopped(0)
    assert state(new).is_running
    assert stop(new, None) == Stopped(0)
