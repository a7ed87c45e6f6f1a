"""The waiting process: exit status, environment, torchrun's variables, a killed wrapper."""

from __future__ import annotations

import json
import os
import sys

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ssh_gang.protocol import Stopped
from tests.ssh_gang.local_host import gang, launch, stop, until, until_ended, until_file

SHOW = "import json, os, sys; print(json.dumps([sys.argv[1:], os.environ.get('VALUE')]))"
TEXT = st.text(st.characters(blacklist_characters="\0\n", blacklist_categories=("Cs",)), max_size=40)


def test_exit_code_is_recorded(tmp_path):
    g = gang(tmp_path, ["bash", "-c", "echo 损失; exit 3"])
    launch(g)
    ended, output = until_ended(g)
    assert ended.outcome == "exit code 3"
    assert output.decode() == "损失\n"


def test_signal_that_ended_the_command_is_recorded(tmp_path):
    g = gang(tmp_path, ["bash", "-c", "kill -9 $$"])
    launch(g)
    assert until_ended(g)[0].outcome == "killed by signal 9"


def test_missing_program_has_exit_code_127(tmp_path):
    g = gang(tmp_path, ["no-such-program", "argument"])
    launch(g)
    ended, output = until_ended(g)
    assert ended.outcome == "exit code 127"
    assert b"no-such-program: not found" in output


def test_ranks_that_torchrun_has_started_are_counted(tmp_path):
    start_one_of_two = (
        'mkdir -p "$PET_LOG_DIR"/none_x/attempt_0/{0,1}; '
        'touch "$PET_LOG_DIR"/none_x/attempt_0/0/stdout.log; sleep 30'
    )
    g = gang(tmp_path, ["bash", "-c", start_one_of_two], ranks=2)
    launch(g)
    assert until(g, lambda s: s.ranks_started).ranks_started == 1
    assert stop(g) == Stopped(0)


def test_killed_wrapper_is_lost(tmp_path):
    g = gang(tmp_path, ["sleep", "30"])
    launch(g)
    folder = tmp_path / "gangs" / g.name
    until_file(folder / "started")
    os.kill(int((folder / "pid").read_text().split()[0]), 9)
    lost = until(g, lambda s: not s.alive)
    assert lost.is_lost
    assert "wrapper" in lost.outcome
    assert stop(g) == Stopped(0)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(argument=TEXT, value=TEXT, content=TEXT)
def test_values_arrive_byte_for_byte(tmp_path_factory, argument, value, content):
    tmp_path = tmp_path_factory.mktemp("fuzz")
    # A leading ~/ means the home folder on the host; everything else is itself.
    if argument.startswith("~/") or any(part.startswith("~/") for part in value.split(":")):
        return
    injections = ["$(touch pwned)", "`touch pwned`", "; touch pwned"]
    g = gang(
        tmp_path,
        ["python3", "-c", SHOW, argument, *injections],
        env={"VALUE": value},
        files={"a/b.txt": content},
    )
    launch(g)
    ended, output = until_ended(g)
    assert ended.succeeded, output
    assert json.loads(output) == [[argument, *injections], value]
    assert (tmp_path / "work" / "a" / "b.txt").read_bytes() == content.encode()
    assert not list(tmp_path.rglob("pwned"))


def test_tilde_is_the_home_folder_on_the_host(tmp_path):
    g = gang(tmp_path, ["python3", "-c", SHOW, "~/code"], env={"VALUE": "~/a:/b:~/c"})
    launch(g)
    home = os.environ.get("HOME", "/")
    assert json.loads(until_ended(g)[1]) == [[f"{home}/code"], f"{home}/a:/b:{home}/c"]


def test_variables_of_the_command_do_not_change_the_script(tmp_path):
    names = ("folder", "work_dir", "command", "ranks", "child", "code", "BASH_ENV")
    show = f"import json, os; print(json.dumps([os.environ[n] for n in {names}]))"
    g = gang(tmp_path, [sys.executable, "-c", show], env=dict.fromkeys(names, "/elsewhere"))
    launch(g)
    ended, output = until_ended(g)
    assert ended.succeeded, output
    assert json.loads(output) == ["/elsewhere"] * len(names)
