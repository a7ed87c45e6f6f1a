"""Copying files from one host to another over real sshd."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from ssh_gang.errors import HostError
from ssh_gang.model import GangHost
from ssh_gang.transfer import copy

FOLDER = "~/check points/step"
NAMES = ["shard 0.pt", "shard-1.pt", "-weird$name.pt"]


def home(sshd) -> Path:
    return sshd.folder / "home" / "check points" / "step"


@pytest.fixture
def hosts(sshds) -> list[GangHost]:
    """Two hosts, of which the first has three shards and a log."""
    home(sshds[0]).mkdir(parents=True)
    for number, name in enumerate(NAMES):
        (home(sshds[0]) / name).write_bytes(bytes([number]) * 3_000_000)
    (home(sshds[0]) / "train.log").write_text("log")
    return [GangHost(name=s.name, conn_id=s.conn_id) for s in sshds]


def test_every_file_arrives_byte_for_byte(sshds, hosts):
    assert asyncio.run(copy(*hosts, FOLDER)) == 4
    assert {f.name: f.read_bytes() for f in home(sshds[1]).iterdir()} == {
        f.name: f.read_bytes() for f in home(sshds[0]).iterdir()
    }


def test_only_files_that_match_are_copied(sshds, hosts):
    assert asyncio.run(copy(*hosts, FOLDER, ["*.pt"])) == 3
    assert sorted(f.name for f in home(sshds[1]).iterdir()) == sorted(NAMES)


def test_pattern_without_a_file_is_an_error(hosts):
    with pytest.raises(HostError, match="No such file"):
        asyncio.run(copy(*hosts, FOLDER, ["*.safetensors"]))
