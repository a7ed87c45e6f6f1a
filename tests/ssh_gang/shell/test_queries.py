"""Commands that only read: the list of gangs, the end of the output, free disk."""

from __future__ import annotations

import pytest

from ssh_gang import commands
from ssh_gang.protocol import FreeSpace, RunningGang, Stopped, parse_lines
from tests.ssh_gang.local_host import gang, launch, run, stop, until_ended


def test_running_gang_is_listed_with_its_owner(tmp_path):
    owner = {"dag_id": "dag", "run_id": "it's a manual run"}
    g = gang(tmp_path, ["sleep", "30"]).model_copy(update={"owner": owner, "name": "dag.task.listed"})
    launch(g)
    listed = list(parse_lines(run(commands.list_gangs_command(g.root))))
    assert RunningGang(g.name, "try1", owner) in listed
    assert stop(g) == Stopped(0)


def test_running_gang_under_another_root_is_listed_without_owner(tmp_path):
    g = gang(tmp_path, ["sleep", "30"]).model_copy(
        update={"owner": {"dag_id": "dag"}, "name": "dag.task.elsewhere"}
    )
    launch(g)
    listed = list(parse_lines(run(commands.list_gangs_command(str(tmp_path / "other")))))
    assert RunningGang(g.name, "try1", {}) in listed
    assert stop(g) == Stopped(0)


@pytest.mark.parametrize(("rank", "expected"), [(None, "[rank 1]:b\n[rank 0]:c"), (0, "a\nc"), (2, "")])
def test_tail_of_the_output(tmp_path, rank, expected):
    g = gang(tmp_path, ["printf", "[rank 0]:a\n[rank 1]:b\n[rank 0]:c\n".replace("\n", "\\n")])
    launch(g)
    until_ended(g)
    assert run(commands.tail_command(g, rank, lines=2)) == expected


def test_tail_of_a_line_without_end_is_bounded(tmp_path):
    """Such as a progress bar that rewrites its line for days."""
    g = gang(tmp_path, ["python3", "-c", "print('x' * 9_000_000, end='END')"])
    launch(g)
    until_ended(g)
    tail = run(commands.tail_command(g))
    assert tail.endswith("xEND")
    assert len(tail) <= 4 * 1024 * 1024


def test_tail_of_an_absent_gang_is_empty(tmp_path):
    assert run(commands.tail_command(gang(tmp_path, ["true"]))) == ""


def test_free_space_of_each_folder_is_reported(tmp_path):
    g = gang(tmp_path, ["true"])
    launch(g)
    until_ended(g)
    spaces = list(parse_lines(run(commands.free_space_command(g, g.members[0]))))
    assert [space.folder for space in spaces if isinstance(space, FreeSpace)] == [g.members[0].cwd, g.root]
    assert all(space.mebibytes > 0 for space in spaces if isinstance(space, FreeSpace))
