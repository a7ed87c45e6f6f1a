"""What `serving.py` makes of its files and of the kernel's table, without a model."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.conftest import ROOT, free_port


@pytest.fixture
def stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A host's servers, none of them up."""
    monkeypatch.setattr(sys, "path", [str(ROOT / "include/node"), *sys.path])
    import serving

    (tmp_path / "workers").mkdir()
    return serving.Stack(
        {
            "folder": str(tmp_path),
            "bind": "127.0.0.1",
            "controller_port": free_port(),
            "api_port": free_port(),
            "drain_timeout": 20,
        }
    )


def worker(stack: Any, program: str, **what: Any) -> None:
    (stack.folder / "workers" / f"{program}.json").write_text(json.dumps({"model": "/m", "port": 1} | what))


def test_files_of_the_first_version_are_read(stack):
    """They had one name; a lab that served when the code was renewed failed with KeyError."""
    worker(stack, "old", name="text2sql")
    worker(stack, "new", names=["candidate"])
    assert {program: w["names"] for program, w in stack.workers().items()} == {
        "old": ["text2sql"],
        "new": ["candidate"],
    }


def test_a_worker_is_drained_when_its_last_connection_has_closed(stack, monkeypatch):
    """However slowly it answers: one that did not answer within five seconds was taken for a dead one, and its requests were cut."""
    clock, quiet = 0.0, sys.modules["serving"].QUIET
    with socket.create_server(("127.0.0.1", 0)) as listener:
        worker(stack, "old", names=[], port=listener.getsockname()[1])
        request = socket.create_connection(listener.getsockname())
        answering, _ = listener.accept()

        def sleep(seconds: float) -> None:
            nonlocal clock
            clock += seconds
            if clock > 2 * quiet:
                answering.close()
                request.close()

        monkeypatch.setattr("serving.time", SimpleNamespace(monotonic=lambda: clock, sleep=sleep))
        drained = stack.drain("old")
    assert 3 * quiet - 0.1 < drained < 3 * quiet + 1


def test_a_worker_that_never_ends_is_drained_for_so_long_and_no_longer(stack, monkeypatch):
    clock, stack.want["drain_timeout"] = 0.0, 5

    def sleep(seconds: float) -> None:
        nonlocal clock
        clock += seconds

    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()):
        worker(stack, "old", names=[], port=listener.getsockname()[1])
        monkeypatch.setattr("serving.time", SimpleNamespace(monotonic=lambda: clock, sleep=sleep))
        assert 5 <= stack.drain("old") < 6


def test_a_controller_that_does_not_come_up_takes_no_worker_with_it(stack, monkeypatch):
    """To forget a worker is to apply the rest, which waits for the controller: it went round and round."""
    worker(stack, "worker-text2sql-1", names=["text2sql"])
    monkeypatch.setattr(stack, "apply", lambda: pytest.fail("applied again"))
    monkeypatch.setattr(stack, "running", lambda: True)
    with pytest.raises(SystemExit, match="controller does not listen"):
        stack.fail("controller", "controller does not listen")
    stack.spared = "worker-text2sql-1"
    with pytest.raises(SystemExit, match="does not answer"):
        stack.fail("worker-text2sql-1", "does not answer")
    assert list(stack.workers()) == ["worker-text2sql-1"]


@pytest.mark.parametrize("field", ["controller_port", "api_port"])
def test_a_port_that_somebody_else_has_is_named_before_anything_is_started(stack, field):
    """It was taken for our own controller, and our workers were registered with a stranger's."""
    with (
        socket.create_server(("127.0.0.1", stack.want[field])),
        pytest.raises(
            SystemExit,
            match=rf"can't listen on 127.0.0.1:{stack.want[field]} \(Address already in use\).*serving.{field}",
        ),
    ):
        stack.apply()
    assert not stack.running() and not (stack.folder / "supervisord.pid").exists()


def test_what_a_killed_supervisor_left_is_ended_and_no_other(stack, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    ours, of_another_folder, a_strangers = (
        subprocess.Popen(["sleep", "60"], cwd=where, env=os.environ | more)
        for where, more in (
            (stack.folder, {"SQLTUNE_SERVING": "1"}),
            (tmp_path / "elsewhere", {"SQLTUNE_SERVING": "1"}),
            (stack.folder, {}),
        )
    )
    stack.end_orphans()
    assert ours.wait(5) == -signal.SIGKILL and of_another_folder.poll() is None and a_strangers.poll() is None
    for left in (of_another_folder, a_strangers):
        left.kill()
        left.wait()


def test_the_last_worker_is_gone_when_its_supervisor_is(stack, monkeypatch):
    """supervisord takes its socket away first, and ends a moment later: it was found living after `down`."""
    ending = subprocess.Popen(["sleep", "60"])
    shutdown = threading.Timer(0.3, ending.kill)
    monkeypatch.setattr(stack, "running", lambda: True)
    monkeypatch.setattr(
        type(stack),
        "supervisor",
        SimpleNamespace(supervisor=SimpleNamespace(getPID=lambda: ending.pid, shutdown=shutdown.start)),
    )
    stack.remove("worker-text2sql-1")
    assert ending.poll() == -signal.SIGKILL
