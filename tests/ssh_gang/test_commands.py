"""The shell text of a job, under a real shell: what is given arrives byte for byte, and nothing else is run."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from ssh_gang import commands
from ssh_gang.model import Gang, Limits, Member, gang_name
from ssh_gang.protocol import Clock, StateReport, parse_line
from ssh_gang.state import JobState
from tests.conftest import bash, free_port

SHOW = "import json, os, sys; print(json.dumps([sys.argv[1:], os.environ.get('VALUE')]))"


def gang(root: Path, argv: list[str], grace: float = 1, **member: object) -> Gang:
    m = Member(host="here", conn_id="c", argv=argv, cwd=str(root / "work"), **member)
    return Gang(
        name="dag.task.run",
        attempt="try1",
        root=str(root / "gangs"),
        members=[m],
        limits=Limits(prepare=5, grace=grace),
    )


def say(script: str) -> str:
    answer = bash(script)
    assert answer.returncode == 0, answer.stderr
    return answer.stdout.decode().strip()


class Line:
    """A script that stays on the line, as over SSH."""

    def __init__(self, script: str) -> None:
        command, text = commands.interactive_command(script)
        self.process = subprocess.Popen(
            ["sh", "-c", command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
        )
        self.write(text)

    def write(self, words: bytes) -> None:
        assert self.process.stdin
        self.process.stdin.write(words)

    def answer(self) -> str:
        assert self.process.stdout
        return self.process.stdout.readline().decode().strip()

    def said(self) -> str:
        """A line of stderr."""
        assert self.process.stderr
        return self.process.stderr.readline().decode().strip()

    def hang_up(self) -> None:
        self.process.stdin.close()
        self.process.wait(20)
        self.process.stdout.close()
        self.process.stderr.close()


@contextmanager
def line(script: str) -> Iterator[Line]:
    made = Line(script)
    try:
        yield made
    finally:
        made.hang_up()


def look(g: Gang) -> JobState:
    message = parse_line(say(commands.query_state_command(g)))
    assert isinstance(message, StateReport)
    return message.state


def until(g: Gang, true: Callable[[JobState], object]) -> JobState:
    deadline = time.monotonic() + 20
    while not true(state := look(g)):
        assert time.monotonic() < deadline, state
        time.sleep(0.05)
    return state


def until_ended(g: Gang) -> tuple[JobState, bytes]:
    return until(g, lambda s: s.exit_status), (Path(g.root) / g.name / "output").read_bytes()


def launched(g: Gang, replace: str | None = None) -> None:
    with line(commands.prepare_command(g, g.members[0], replace)) as armed:
        assert armed.answer() == "prepared"
        armed.write(b"start\n")
        assert armed.answer() == "started"


def refused(g: Gang, replace: str | None = None) -> str:
    with line(commands.prepare_command(g, g.members[0], replace)) as armed:
        return armed.answer()


def test_armed_waits_for_the_word(tmp_path):
    g = gang(tmp_path, ["touch", "done"])
    with line(commands.prepare_command(g, g.members[0])) as armed:
        assert armed.answer() == "prepared"
        armed.write(b"time\n")
        clock = parse_line(armed.answer())
        assert isinstance(clock, Clock)
        assert abs(clock.host_time - time.time()) < 5
        state = look(g)
        assert state.is_running and state.started_at is None and not (tmp_path / "work" / "done").exists()
        armed.write(b"start\n")
        assert armed.answer() == "started"
    state, _ = until_ended(g)
    assert state.succeeded and state.started_at and (tmp_path / "work" / "done").exists()


def test_who_armed_and_went_away_disarms(tmp_path):
    g = gang(tmp_path, ["touch", "never"])
    with line(commands.prepare_command(g, g.members[0])) as armed:
        assert armed.answer() == "prepared"
    assert until(g, lambda s: s.exit_status and not s.alive).outcome == "not_started"
    assert not (tmp_path / "work" / "never").exists()


def test_claimed_twice_is_refused_and_changes_nothing(tmp_path):
    g = gang(tmp_path, ["sleep", "30"])
    launched(g)
    other = g.model_copy(update={"attempt": "try2"})
    assert refused(other) == "claimed=try1"
    # Another owner than the one that was seen.
    assert refused(other, replace="try0") == "claimed=try1"
    assert look(g).attempt == "try1"
    assert say(commands.stop_command(g, "try1")) == "stopped=0"


def test_what_ended_is_put_aside_with_its_log(tmp_path):
    g = gang(tmp_path, ["echo", "words"])
    launched(g)
    until_ended(g)
    again = g.model_copy(update={"attempt": "try2", "fencing_token": 7, "generation": 3, "spec_hash": "abc"})
    launched(again, replace="try1")
    state, _ = until_ended(again)
    assert (state.attempt, state.fencing_token, state.generation, state.spec_hash) == ("try2", 7, 3, "abc")
    assert (tmp_path / "gangs" / f"{g.name}.1" / "output").read_text() == "words\n"


def test_an_older_try_can_not_stop_a_newer_one(tmp_path):
    new = gang(tmp_path, ["sleep", "30"]).model_copy(update={"fencing_token": 9})
    launched(new)
    old = new.model_copy(update={"attempt": "try0", "fencing_token": 8})
    assert say(commands.stop_command(old, None)).startswith("fenced=")
    assert look(new).is_running
    assert (
        say(commands.stop_command(new.model_copy(update={"fencing_token": commands.MAX_FENCING_TOKEN}), None))
        == "stopped=0"
    )


def test_an_exclusive_gang_waits_for_another(tmp_path):
    first = gang(tmp_path, ["sleep", "30"]).model_copy(update={"exclusive": True})
    launched(first)
    second = first.model_copy(update={"name": "dag.task.other", "attempt": "try9"})
    assert refused(second) == f"busy={first.marker}"
    with line(commands.wait_until_free_command(second)) as waiting:
        assert waiting.answer() == f"busy={first.marker}"
        assert say(commands.stop_command(first, "try1")) == "stopped=0"
        assert waiting.answer() == "free"
    launched(second)
    assert say(commands.stop_command(second, "try9")) == "stopped=0"


def test_exit_code_and_signal(tmp_path):
    g = gang(tmp_path, ["bash", "-c", "echo 损失; exit 3"])
    launched(g)
    state, output = until_ended(g)
    assert state.outcome == "exit code 3" and output.decode() == "损失\n"
    k = gang(tmp_path / "k", ["bash", "-c", "kill -9 $$"])
    launched(k)
    assert until_ended(k)[0].outcome == "killed by signal 9"


def test_output_comes_whole_and_goes_on_where_it_was_confirmed(tmp_path):
    g = gang(tmp_path, ["python3", "-c", "print('x' * 9_000_000)"])
    launched(g)
    with line(commands.follow_command(g, g.members[0])) as followed:
        assert followed.said() == "from=0"
        got = b""
        while len(got) < 9_000_001:
            got += followed.process.stdout.read(1 << 20)
        assert got == b"x" * 9_000_000 + b"\n"
        while not (state := parse_line(followed.said()).state).exit_status:
            pass
        assert state.output_size == 9_000_001
        followed.write(b"acknowledge 9000000\ntime\n")
        while not followed.said().startswith("clock="):
            pass
    with line(commands.follow_command(g, g.members[0])) as followed:
        assert followed.said() == "from=9000000" and followed.process.stdout.read(10) == b"\n"


def test_the_ranks_that_torchrun_has_started_are_counted(tmp_path):
    g = gang(
        tmp_path,
        [
            "bash",
            "-c",
            'mkdir -p "$PET_LOG_DIR"/none_x/attempt_0/{0,1}; touch "$PET_LOG_DIR"/none_x/attempt_0/0/stdout.log; sleep 30',
        ],
        ranks=2,
    )
    launched(g)
    assert until(g, lambda s: s.ranks_started).ranks_started == 1
    assert say(commands.stop_command(g, "try1")) == "stopped=0"


def test_stop_ends_workers_in_sessions_of_their_own(tmp_path):
    # As torchrun does: the worker has its own session, and does not obey SIGTERM.
    worker = "trap '' TERM; echo up; while :; do sleep 0.1; done"
    g = gang(tmp_path, ["bash", "-c", f"setsid bash -c {shlex.quote(worker)} & wait"])
    launched(g)
    deadline = time.monotonic() + 10
    while b"up" not in (tmp_path / "gangs" / g.name / "output").read_bytes():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert say(commands.stop_command(g, "try1")) == "stopped=0"
    mark = f"{commands.MARKER}={g.marker}".encode()
    assert not [p for p in Path("/proc").glob("[0-9]*/environ") if mark in _read(p)]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def test_an_old_trys_kill_does_not_touch_a_new_one(tmp_path):
    new = gang(tmp_path, ["sleep", "30"]).model_copy(update={"attempt": "try2"})
    launched(new)
    assert say(commands.stop_command(new, "try1")) == "stopped=0"
    assert look(new).is_running
    assert say(commands.stop_command(new, None)) == "stopped=0"


def test_a_killed_wrapper_is_lost_not_running(tmp_path):
    g = gang(tmp_path, ["sleep", "30"])
    launched(g)
    folder = tmp_path / "gangs" / g.name
    deadline = time.monotonic() + 10
    while not (folder / "started").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.kill(int((folder / "pid").read_text().split()[0]), 9)
    state = until(g, lambda s: not s.alive)
    assert state.is_lost and "wrapper" in state.outcome
    assert say(commands.stop_command(g, "try1")) == "stopped=0"


def test_a_taken_port_is_named_and_the_claim_given_back(tmp_path):
    import socket

    port = free_port()
    with socket.socket() as s:
        s.bind(("127.0.0.1", port))
        s.listen()
        g = gang(tmp_path, ["true"], required_port=port)
        assert refused(g).startswith(f"refused=port {port} is taken")
    launched(g)
    assert until_ended(g)[0].succeeded


@pytest.mark.parametrize(
    ("accelerator", "tool", "recorded"),
    [("cuda", "nvidia-smi", "nvidia-smi-apps.csv"), ("rocm", "rocm-smi", "rocm-smi-pids.txt")],
)
def test_a_strangers_process_on_the_gpus_is_named_and_not_touched(tmp_path, accelerator, tool, recorded):
    """The tools are stood in for by what they printed; the process is real."""
    stranger = subprocess.Popen(["sleep", "60"])
    answer = _arm_beside(tmp_path, accelerator, tool, recorded, stranger.pid)
    assert (
        answer.startswith("refused=foreign processes are on its GPUs")
        and f"{stranger.pid} " in answer
        and ";" not in answer.split("(")[1].split(")")[0]
    )
    assert stranger.poll() is None
    stranger.kill()
    stranger.wait()


def test_our_own_served_model_on_the_gpus_is_no_stranger(tmp_path):
    server = subprocess.Popen(["sleep", "60"], env=os.environ | {"MODEL_SERVER": "1"})
    assert _arm_beside(tmp_path, "cuda", "nvidia-smi", "nvidia-smi-apps.csv", server.pid) == "prepared"
    server.kill()
    server.wait()


def test_what_holds_a_gpu_from_another_container_is_a_stranger(tmp_path):
    """The driver gives its pid, and no name: as recorded of a host with eight cards, of which a process that could not be seen held 58 GB."""
    answer = _arm_beside(tmp_path, "cuda", "nvidia-smi", "nvidia-smi-apps-unseen.csv", 0)
    assert (
        "foreign processes are on its GPUs (pid 999999999 of another container: [Not Found], 58060 MiB)"
        in answer
    )


def _arm_beside(tmp_path, accelerator, tool, recorded, pid):
    """What arming says with a process on the host's GPUs."""
    said = (Path(__file__).with_name("gpus") / recorded).read_text()
    said = re.sub("1168514|3858903", str(pid), said)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / tool).write_text(f"#!/bin/sh\ncat <<'END'\n{said}END\n")
    (tmp_path / "bin" / tool).chmod(0o755)
    g = gang(tmp_path, ["true"], accelerator=accelerator, tolerated_gpu_marker="MODEL_SERVER")
    script = f"PATH={tmp_path}/bin:$PATH\n" + commands.prepare_command(g, g.members[0])
    with line(script) as armed:
        return armed.answer()


TEXT = st.text(st.characters(blacklist_characters="\0\n", blacklist_categories=("Cs",)), max_size=40)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(argument=TEXT, value=TEXT, content=TEXT)
def test_values_arrive_byte_for_byte(tmp_path_factory, argument, value, content):
    tmp_path = tmp_path_factory.mktemp("fuzz")
    # A leading ~/ means the home of the host; everything else is itself.
    if argument.startswith("~/") or any(part.startswith("~/") for part in value.split(":")):
        return
    g = gang(
        tmp_path,
        ["python3", "-c", SHOW, argument, "$(touch pwned)", "`touch pwned`", "; touch pwned"],
        env={"VALUE": value},
        files={"a/b.txt": content},
    )
    launched(g)
    state, output = until_ended(g)
    assert state.succeeded, output
    assert json.loads(output) == [[argument, "$(touch pwned)", "`touch pwned`", "; touch pwned"], value]
    assert (tmp_path / "work" / "a" / "b.txt").read_bytes() == content.encode()
    assert not list(tmp_path.rglob("pwned"))


def test_the_home_of_the_host(tmp_path):
    g = gang(tmp_path, ["python3", "-c", SHOW, "~/code"], env={"VALUE": "~/a:/b:~/c"})
    launched(g)
    home = os.environ.get("HOME", "/")
    assert json.loads(until_ended(g)[1]) == [[f"{home}/code"], f"{home}/a:/b:{home}/c"]


@pytest.mark.parametrize(
    "bad",
    [
        {"argv": []},
        {"argv": ["a\nb"]},
        {"argv": ["a\0b"]},
        {"env": {"A-B": "1"}},
        {"env": {"1A": "1"}},
        {"cwd": "/a/../b"},
        {"files": {"../x": ""}},
        {"files": {"/etc/x": ""}},
        {"files": {"a;b": ""}},
    ],
)
def test_bad_members_are_refused(bad):
    with pytest.raises(ValidationError):
        Member(**({"host": "h", "conn_id": "c", "argv": ["true"], "cwd": "/w"} | bad))


def test_bad_gangs_are_refused():
    m = Member(host="h", conn_id="c", argv=["true"], cwd="/w")
    for members in ([], [m, m]):
        with pytest.raises(ValidationError):
            Gang(name="n", attempt="a", root="/r", members=members)


def test_the_name_does_not_hold_the_try_and_is_a_file_name():
    name = gang_name("dag", "group.train", "manual__2026-11-23T05:21:03.569706+00:00", "1" * 32)
    assert (
        name == gang_name("dag", "group.train", "manual__2026-11-23T05:21:03.569706+00:00", "1" * 32)
        and "/" not in name
        and ":" not in name
    )
    assert name != gang_name("dag", "group.train", "manual__2026-11-23T05:21:03.569706-00:00", "1" * 32)
    assert name != gang_name("dag", "group.train", "manual__2026-11-23T05:21:03.569706+00:00", "2" * 32)
