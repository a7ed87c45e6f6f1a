"""The text of each command for one representative gang: a change of it shows as a diff of a golden file."""

from __future__ import annotations

import pytest

from ssh_gang import commands
from ssh_gang.model import Gang, Limits, Member

MEMBER = Member(
    host="host-a",
    conn_id="gpu_a",
    argv=["torchrun", "--nnodes=2", "train.py", "it's $HOME", "~/models/base"],
    env={"HF_HOME": "~/cache", "NO_PROXY": "localhost,10.0.0.0/8"},
    path_prefix="~/env/bin",
    cwd="~/work/run-1",
    files={"config/train.py": "max_steps = 20\n", "run.json": '{"a": "b"}'},
    required_port=12345,
    ranks=4,
    accelerator="cuda",
    tolerated_gpu_marker="MODEL_SERVER",
)
GANG = Gang(
    name="dag.train.run",
    attempt="try2-0a1b",
    fencing_token=1732406400000,
    generation=1,
    spec_hash="0123abcd",
    exclusive=True,
    owner={"dag_id": "dag", "task_id": "train", "run_id": "manual run"},
    root="~/work/gangs",
    members=[MEMBER],
    limits=Limits(prepare=30, grace=20),
)

COMMANDS = {
    "job": commands.job_script(GANG, MEMBER),
    "prepare": commands.prepare_command(GANG, MEMBER, replace="try1-ffff"),
    "wait_until_free": commands.wait_until_free_command(GANG),
    "query_state": commands.query_state_command(GANG),
    "follow": commands.follow_command(GANG, MEMBER),
    "tail": commands.tail_command(GANG),
    "tail_of_rank": commands.tail_command(GANG, rank=3, lines=400),
    "free_space": commands.free_space_command(GANG, MEMBER),
    "mark_refused": commands.mark_refused_command(GANG),
    "stop": commands.stop_command(GANG, "try1-ffff", "cuda"),
    "stop_any_attempt": commands.stop_command(GANG, None),
    "list_gangs": commands.list_gangs_command(GANG.root),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_command_text(golden, name):
    golden(f"{name}.sh", COMMANDS[name])


@pytest.mark.parametrize(
    ("text", "expected"),
    [("~", "~"), ("~/a b", "~/'a b'"), ("/a", "/a"), ("$HOME", "'$HOME'"), ("a~", "'a~'")],
)
def test_path_leaves_only_a_leading_tilde_to_the_shell(text, expected):
    assert commands.path(text) == expected


def test_command_line_is_what_a_person_would_type():
    expected = "torchrun --nnodes=2 train.py 'it'\"'\"'s $HOME' ~/models/base"
    assert commands.command_line(MEMBER) == expected


def test_interactive_command_reads_the_script_by_its_length():
    command, text = commands.interactive_command("echo 损失")
    assert command == f"exec bash -c 'eval \"$(head -c {len(text)})\"'"
    assert text == "echo 损失".encode()
