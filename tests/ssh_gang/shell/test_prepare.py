"""Preparing and starting a member: the claim, the checks of the host, the start signal."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ssh_gang import commands
from ssh_gang.protocol import (
    Busy,
    Claimed,
    Clock,
    Free,
    Message,
    Prepared,
    Refused,
    Started,
    Stopped,
    request_time,
    start_signal,
)
from tests.conftest import free_port
from tests.ssh_gang.local_host import (
    gang,
    launch,
    prepare_answer,
    session,
    state,
    stop,
    until,
    until_ended,
)

RECORDED = Path(__file__).parents[1] / "gpus"


def test_prepared_member_waits_for_the_start_signal(tmp_path):
    g = gang(tmp_path, ["touch", "done"])
    done = tmp_path / "work" / "done"
    with session(commands.prepare_command(g, g.members[0])) as prepared:
        assert prepared.message() == Prepared()
        waiting = state(g)
        assert waiting.is_running
        assert waiting.started_at is None
        assert not done.exists()
        prepared.send(start_signal())
        assert prepared.message() == Started()
    ended, _ = until_ended(g)
    assert ended.succeeded
    assert ended.started_at
    assert done.exists()


def test_prepared_host_answers_with_its_time(tmp_path):
    g = gang(tmp_path, ["true"])
    with session(commands.prepare_command(g, g.members[0])) as prepared:
        assert prepared.message() == Prepared()
        prepared.send(request_time())
        clock = prepared.message()
    assert isinstance(clock, Clock)
    assert abs(clock.host_time - time.time()) < 5


def test_other_users_of_the_host_cannot_read_the_environment_of_the_command(tmp_path):
    """It may hold tokens, and it is part of `job.sh`; arguments and work folder are for everybody."""
    g = gang(tmp_path, ["true"], env={"HF_TOKEN": "hf_abc"})
    launch(g)
    assert (tmp_path / "gangs" / g.name).stat().st_mode & 0o077 == 0
    until_ended(g)


def test_end_of_the_session_cancels_the_prepared_member(tmp_path):
    g = gang(tmp_path, ["touch", "never"])
    assert prepare_answer(g) == Prepared()
    cancelled = until(g, lambda s: s.exit_status and not s.alive)
    assert cancelled.exit_status == "not_started"
    assert cancelled.outcome == "cancelled before the start signal"
    assert not (tmp_path / "work" / "never").exists()


@pytest.mark.parametrize("replace", [None, "try0"])
def test_folder_of_another_attempt_is_not_claimed(tmp_path, replace):
    g = gang(tmp_path, ["sleep", "30"])
    launch(g)
    other = g.model_copy(update={"attempt": "try2"})
    assert prepare_answer(other, replace) == Claimed("try1")
    assert state(g).attempt == "try1"
    assert stop(g) == Stopped(0)


def test_ended_attempt_is_put_aside_with_its_log(tmp_path):
    g = gang(tmp_path, ["echo", "words"])
    launch(g)
    until_ended(g)
    again = g.model_copy(update={"attempt": "try2", "fencing_token": 7, "generation": 3, "spec_hash": "abc"})
    launch(again, replace="try1")
    ended, _ = until_ended(again)
    claim = (ended.attempt, ended.fencing_token, ended.generation, ended.spec_hash)
    assert claim == ("try2", 7, 3, "abc")
    assert (tmp_path / "gangs" / f"{g.name}.1" / "output").read_text() == "words\n"


def test_exclusive_gang_waits_for_another(tmp_path):
    first = gang(tmp_path, ["sleep", "30"]).model_copy(update={"exclusive": True})
    launch(first)
    second = first.model_copy(update={"name": "dag.task.other", "attempt": "try9"})
    assert prepare_answer(second) == Busy(first.marker)
    with session(commands.wait_until_free_command(second)) as waiting:
        assert waiting.message() == Busy(first.marker)
        assert stop(first) == Stopped(0)
        assert waiting.message() == Free()
    launch(second)
    assert stop(second, "try9") == Stopped(0)


def test_taken_port_is_named_and_the_claim_given_back(tmp_path):
    port = free_port()
    g = gang(tmp_path, ["true"], required_port=port)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", port))
        listener.listen()
        answer = prepare_answer(g)
    assert isinstance(answer, Refused)
    assert answer.reason.startswith(f"port {port} is taken")
    launch(g)
    assert until_ended(g)[0].succeeded


@pytest.mark.parametrize(
    ("accelerator", "tool", "recorded"),
    [("cuda", "nvidia-smi", "nvidia-smi-apps.csv"), ("rocm", "rocm-smi", "rocm-smi-pids.txt")],
)
def test_foreign_process_on_the_gpus_is_named_and_not_touched(tmp_path, accelerator, tool, recorded):
    """The tools are stood in for by what they printed; the process is real."""
    with sleeping_process() as foreign:
        answer = prepare_beside(tmp_path, accelerator, tool, recorded, foreign.pid)
        assert foreign.poll() is None
    assert isinstance(answer, Refused)
    assert answer.reason.startswith("foreign processes are on its GPUs")
    named = answer.reason.split("(")[1].split(")")[0]
    assert f"pid {foreign.pid} " in named
    # One process, named once.
    assert ";" not in named


def test_tolerated_process_on_the_gpus_is_not_foreign(tmp_path):
    with sleeping_process(MODEL_SERVER="1") as server:
        answer = prepare_beside(tmp_path, "cuda", "nvidia-smi", "nvidia-smi-apps.csv", server.pid)
    assert answer == Prepared()


def test_process_of_another_container_on_the_gpus_is_foreign(tmp_path):
    """As recorded on a host with eight GPUs: the driver gives a pid that is not there, and no name."""
    answer = prepare_beside(tmp_path, "cuda", "nvidia-smi", "nvidia-smi-apps-unseen.csv", 0)
    assert isinstance(answer, Refused)
    named = "foreign processes are on its GPUs (pid 999999999 of another container: [Not Found], 58060 MiB)"
    assert named in answer.reason


@contextmanager
def sleeping_process(**env: str) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(["sleep", "60"], env=os.environ | env)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def prepare_beside(tmp_path: Path, accelerator: str, tool: str, recorded: str, pid: int) -> Message:
    """The answer to prepare with a process on the host's GPUs."""
    output = re.sub("1168514|3858903", str(pid), (RECORDED / recorded).read_text())
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / tool).write_text(f"#!/bin/sh\ncat <<'END'\n{output}END\n")
    (tmp_path / "bin" / tool).chmod(0o755)
    g = gang(tmp_path, ["true"], accelerator=accelerator, tolerated_gpu_marker="MODEL_SERVER")
    script = f"PATH={tmp_path}/bin:$PATH\n" + commands.prepare_command(g, g.members[0])
    with session(script) as prepared:
        return prepared.message()
