"""What a gang refuses, and what it is called."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from ssh_gang.model import Gang, Member, gang_name, slug, torchrun_command

MEMBER = Member(host="h", conn_id="c", argv=["true"], cwd="/w")
RUN = "manual__2026-11-23T05:21:03.569706+00:00"
INSTALLATION = "1" * 32


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
        {"required_port": 0},
        {"tolerated_gpu_marker": "a|b"},
        {"unknown": 1},
        {"host": "a\nb"},
        {"host": "a/b"},
    ],
)
def test_bad_member_is_refused(bad):
    with pytest.raises(ValidationError):
        Member(**({"host": "h", "conn_id": "c", "argv": ["true"], "cwd": "/w"} | bad))


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"members": []}, "at least 1 item"),
        ({"members": [MEMBER, MEMBER]}, "a host is named twice"),
        ({"name": "a b"}, "name"),
        ({"attempt": "a@b"}, "attempt"),
        ({"progress_pattern": "("}, "not a regular expression"),
        ({"progress_pattern": r"(?P<step>\d+)"}, "lacks the named groups total"),
        ({"checkpoint_pattern": r"saved \d+"}, "checkpoint_pattern .* lacks the named groups step"),
    ],
)
def test_bad_gang_is_refused(bad, message):
    with pytest.raises(ValidationError, match=message):
        Gang(**({"name": "n", "attempt": "a", "root": "/r", "members": [MEMBER]} | bad))


def test_folder_and_marker_of_a_gang():
    gang = Gang(name="n", attempt="a", root="/r", members=[MEMBER])
    assert gang.folder == "/r/n"
    assert gang.marker == "n@a"


def test_gang_name_is_the_same_for_every_attempt():
    name = gang_name("dag", "group.train", RUN, INSTALLATION)
    assert name == gang_name("dag", "group.train", RUN, INSTALLATION)


@pytest.mark.parametrize("character", ["/", ":", " ", "+"])
def test_gang_name_is_a_file_name(character):
    assert character not in gang_name("dag", "group.train", RUN, INSTALLATION)


def test_gang_name_tells_runs_apart():
    other = RUN.replace("+00:00", "-00:00")
    assert gang_name("dag", "train", RUN, INSTALLATION) != gang_name("dag", "train", other, INSTALLATION)


def test_gang_name_tells_installations_apart():
    assert gang_name("dag", "train", RUN, INSTALLATION) != gang_name("dag", "train", RUN, "2" * 32)


def test_gang_name_tells_the_instances_of_a_mapped_task_apart():
    names = {gang_name("dag", "probe", RUN, INSTALLATION, index) for index in (-1, 0, 1)}
    assert len(names) == 3


def test_gang_name_of_long_ids_is_one_that_a_gang_may_have():
    name = gang_name("d" * 250, "group." + "t" * 244, RUN, INSTALLATION)
    assert Gang(name=name, attempt="a", root="/r", members=[MEMBER]).name == name


def test_gang_name_tells_long_ids_apart():
    assert gang_name("d" * 250, "train", RUN, INSTALLATION) != gang_name(
        "d" * 250, "merge", RUN, INSTALLATION
    )


@pytest.mark.parametrize(("text", "expected"), [("plain-1.2_x", "plain-1.2_x"), ("a/b", "a-b-c14cdd")])
def test_slug_is_a_file_name(text, expected):
    assert slug(text) == expected


def test_torchrun_command_names_every_number():
    command = torchrun_command(
        nnodes=2,
        node_rank=1,
        nproc_per_node=4,
        master_addr="10.0.0.1",
        master_port=12345,
        script=["train.py", "--lr", "1"],
    )
    assert command == [
        "torchrun",
        "--nnodes=2",
        "--node_rank=1",
        "--nproc_per_node=4",
        "--master_addr=10.0.0.1",
        "--master_port=12345",
        "train.py",
        "--lr",
        "1",
    ]
