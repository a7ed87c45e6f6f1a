"""Milestones, and what they show of a member."""

from __future__ import annotations

from ssh_gang.milestone import HostCommand, Milestone, prepared
from ssh_gang.model import Gang, Member

MEMBER = Member(
    host="a",
    conn_id="a",
    argv=["torchrun", "--nnodes=2", "~/train it.py"],
    cwd="~/work",
    env={"API_TOKEN": "hidden", "NCCL_SOCKET_IFNAME": "eth0"},
)


def test_the_same_step_on_two_hosts_is_two_milestones():
    a, b = (Milestone(kind="checkpoint", at=1, host=host, number=20) for host in "ab")
    assert a.key != b.key


def test_a_milestone_that_is_noticed_again_later_has_the_same_key():
    assert Milestone(kind="started", at=1).key == Milestone(kind="started", at=2).key


def test_a_command_is_what_a_person_would_type():
    assert HostCommand.of(MEMBER).command == "torchrun --nnodes=2 ~/'train it.py'"


def test_a_command_shows_no_secret():
    assert HostCommand.of(MEMBER).env == {"API_TOKEN": "***", "NCCL_SOCKET_IFNAME": "eth0"}


def test_prepared_names_the_command_of_every_host():
    gang = Gang(name="g", attempt="t", root="/g", members=[MEMBER, MEMBER.model_copy(update={"host": "b"})])
    assert [command.host for command in prepared(gang, 1.0).commands] == ["a", "b"]
