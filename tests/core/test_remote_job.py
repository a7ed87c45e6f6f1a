"""The shell text of a job, under a real shell: what is given arrives byte for byte, and nothing else is run."""

from __future__ import annotations

import json
import os
import shlex
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from sqltune import remote_job
from sqltune.config import Limits
from sqltune.gangs import Gang, Member, gang_name
from tests.conftest import bash, free_port

SHOW = "import json, os, sys; print(json.dumps([sys.argv[1:], os.environ.get('VALUE')]))"


def gang(root: Path, argv: list[str], grace: float = 1, **member: object) -> Gang:
    m = Member(host="here", conn_id="c", argv=argv, cwd=str(root / "work"), **member)
    return Gang(name="dag.task.run", attempt="try1", root=str(root / "gangs"), members=[m], limits=Limits(arm=5, grace=grace))


def say(script: str) -> str:
    answer = bash(script)
    assert answer.returncode == 0, answer.stderr
    return answer.stdout.decode().strip()


def until_ended(g: Gang) -> tuple[remote_job.JobState, bytes]:
    deadline = time.monotonic() + 20
    while True:
        state, output = remote_job.parse_look(bash(remote_job.look(g)).stdout)
        if state.exit:
            return state, output
        assert time.monotonic() < deadline, state
        time.sleep(0.05)


def launched(g: Gang) -> None:
    assert say(remote_job.arm(g, g.members[0])) == "armed"
    assert say(remote_job.go(g)) == "gone"


def test_armed_waits_for_the_word(tmp_path):
    g = gang(tmp_path, ["touch", "done"])
    assert say(remote_job.arm(g, g.members[0])) == "armed"
    state, _ = remote_job.parse_look(bash(remote_job.look(g)).stdout)
    assert state.is_running and state.started is None and not (tmp_path / "work" / "done").exists()
    say(remote_job.go(g))
    state, _ = until_ended(g)
    assert state.succeeded and state.started and (tmp_path / "work" / "done").exists()


def test_claimed_twice_is_refused_and_changes_nothing(tmp_path):
    g = gang(tmp_path, ["sleep", "30"])
    say(remote_job.arm(g, g.members[0]))
    other = g.model_copy(update={"attempt": "try2"})
    assert say(remote_job.arm(other, other.members[0])) == "claimed"
    assert remote_job.parse_look(bash(remote_job.look(g)).stdout)[0].attempt == "try1"
    assert say(remote_job.stop(g, "try1")) == "stopped 0"


def test_exit_code_and_signal(tmp_path):
    g = gang(tmp_path, ["bash", "-c", "echo 损失; exit 3"])
    launched(g)
    state, output = until_ended(g)
    assert state.how_it_ended == "exit code 3" and output.decode() == "损失\n"
    k = gang(tmp_path / "k", ["bash", "-c", "kill -9 $$"])
    launched(k)
    assert until_ended(k)[0].how_it_ended == "killed by signal 9"


def test_output_comes_once_and_whole(tmp_path):
    g = gang(tmp_path, ["python3", "-c", "print('x' * 9_000_000)"])
    launched(g)
    until_ended(g)
    got, taken = b"", None
    while True:
        state, output = remote_job.parse_look(bash(remote_job.look(g, taken)).stdout)
        got, taken = got + output, state.taken + len(output)
        if not output:
            break
    assert got == b"x" * 9_000_000 + b"\n"
    # A watcher that takes over goes on there.
    assert remote_job.parse_look(bash(remote_job.look(g)).stdout)[1] == b""


def test_stop_ends_workers_in_sessions_of_their_own(tmp_path):
    # As torchrun does: the worker has its own session, and does not obey SIGTERM.
    worker = "trap '' TERM; echo up; while :; do sleep 0.1; done"
    g = gang(tmp_path, ["bash", "-c", f"setsid bash -c {shlex.quote(worker)} & wait"])
    launched(g)
    deadline = time.monotonic() + 10
    while b"up" not in (tmp_path / "gangs" / g.name / "output").read_bytes():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert say(remote_job.stop(g, "try1")) == "stopped 0"
    mark = f"{remote_job.MARKER}={g.marker}".encode()
    assert not [p for p in Path("/proc").glob("[0-9]*/environ") if mark in _read(p)]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def test_an_old_try_does_not_stop_a_new_one(tmp_path):
    new = gang(tmp_path, ["sleep", "30"]).model_copy(update={"attempt": "try2"})
    launched(new)
    assert say(remote_job.stop(new, "try1")) == "fenced 0"
    assert remote_job.parse_look(bash(remote_job.look(new)).stdout)[0].is_running
    assert say(remote_job.stop(new, None)) == "stopped 0"


def test_a_killed_wrapper_is_lost_not_running(tmp_path):
    g = gang(tmp_path, ["sleep", "30"])
    launched(g)
    folder = tmp_path / "gangs" / g.name
    deadline = time.monotonic() + 10
    while not (folder / "started").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.kill(int((folder / "pid").read_text().split()[0]), 9)
    state, _ = remote_job.parse_look(bash(remote_job.look(g)).stdout)
    assert state.is_lost and "wrapper" in state.how_it_ended
    assert say(remote_job.stop(g, "try1")) == "stopped 0"


def test_a_taken_port_is_named_and_the_claim_given_back(tmp_path):
    import socket

    port = free_port()
    with socket.socket() as s:
        s.bind(("127.0.0.1", port))
        s.listen()
        g = gang(tmp_path, ["true"], port_free=port)
        assert say(remote_job.arm(g, g.members[0])).startswith(f"refused port {port} is taken on here")
    assert say(remote_job.arm(g, g.members[0])) == "armed"
    assert say(remote_job.stop(g, "try1")) == "stopped 0"


def test_put_aside_keeps_the_log(tmp_path):
    g = gang(tmp_path, ["echo", "words"])
    launched(g)
    until_ended(g)
    say(remote_job.judge(g))
    assert remote_job.parse_look(bash(remote_job.look(g)).stdout)[0].judged == g.generation
    say(remote_job.put_aside(g))
    assert remote_job.parse_look(bash(remote_job.look(g)).stdout)[0].state == "absent"
    assert (tmp_path / "gangs" / f"{g.name}.1" / "output").read_text() == "words\n"


def test_nobody_says_go(tmp_path):
    g = gang(tmp_path, ["touch", "never"])
    say(remote_job.arm(g, g.members[0]))
    assert say(remote_job.stop(g, "try1")) == "stopped 0"
    assert not (tmp_path / "work" / "never").exists()


TEXT = st.text(st.characters(blacklist_characters="\0\n", blacklist_categories=("Cs",)), max_size=40)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(argument=TEXT, value=TEXT, content=TEXT)
def test_values_arrive_byte_for_byte(tmp_path_factory, argument, value, content):
    tmp_path = tmp_path_factory.mktemp("fuzz")
    # A leading ~/ means the home of the host; everything else is itself.
    if argument.startswith("~/") or any(part.startswith("~/") for part in value.split(":")):
        return
    g = gang(tmp_path, ["python3", "-c", SHOW, argument, "$(touch pwned)", "`touch pwned`", "; touch pwned"], env={"VALUE": value}, files={"a/b.txt": content})
    launched(g)
    state, output = until_ended(g)
    assert state.succeeded, output
    assert json.loads(output) == [[argument, "$(touch pwned)", "`touch pwned`", "; touch pwned"], value]
    assert (tmp_path / "work" / "a" / "b.txt").read_text() == content
    assert not list(tmp_path.rglob("pwned"))


def test_the_home_of_the_host(tmp_path):
    g = gang(tmp_path, ["python3", "-c", SHOW, "~/code"], env={"VALUE": "~/a:/b:~/c"})
    launched(g)
    home = os.environ.get("HOME", "/")
    assert json.loads(until_ended(g)[1]) == [[f"{home}/code"], f"{home}/a:/b:{home}/c"]


@pytest.mark.parametrize("bad", [
    {"argv": []}, {"argv": ["a\nb"]}, {"argv": ["a\0b"]}, {"env": {"A-B": "1"}}, {"env": {"1A": "1"}}, {"cwd": "/a/../b"}, {"files": {"../x": ""}}, {"files": {"/etc/x": ""}}, {"files": {"a;b": ""}},
])
def test_bad_members_are_refused(bad):
    with pytest.raises(ValidationError):
        Member(**({"host": "h", "conn_id": "c", "argv": ["true"], "cwd": "/w"} | bad))


def test_bad_gangs_are_refused():
    m = Member(host="h", conn_id="c", argv=["true"], cwd="/w")
    for members in ([], [m, m]):
        with pytest.raises(ValidationError):
            Gang(name="n", attempt="a", root="/r", members=members)


def test_the_name_does_not_hold_the_try_and_is_a_file_name():
    name = gang_name("dag", "group.train", "manual__2026-11-23T05:21:03.569706+00:00")
    assert name == gang_name("dag", "group.train", "manual__2026-11-23T05:21:03.569706+00:00") and "/" not in name and ":" not in name
    assert name != gang_name("dag", "group.train", "manual__2026-11-23T05:21:03.569706-00:00")
