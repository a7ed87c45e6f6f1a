"""Copying between two hosts through this process: every byte arrives, or the error says what failed where."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import asyncssh
import pytest

from ssh_gang import transfer
from ssh_gang.errors import HostError
from ssh_gang.model import GangHost
from tests.ssh_gang.ssh_server import add_connection, in_bash, serving

HOSTS = [GangHost(name=name, conn_id=name.replace("-", "_")) for name in ("host-a", "host-b")]


@pytest.fixture
def homes(tmp_path) -> dict[str, Path]:
    """The hosts' home directories; the first has a file in its folder `step`."""
    homes = {host.name: tmp_path / host.name for host in HOSTS}
    for home in homes.values():
        (home / "step").mkdir(parents=True)
    (homes["host-a"] / "step" / "shard.pt").write_text("weights")
    return homes


@pytest.fixture
def copy(homes, monkeypatch):
    """Copy the folder `step` from the first host to the second, each an SSH server; the number of files.

    Its argument is the end of a command at which the host that gets it breaks off.
    """

    async def go(breaks_at: str | None) -> int:
        async def run(process: asyncssh.SSHServerProcess, home: Path) -> None:
            if breaks_at and breaks_at in process.command:
                process.get_extra_info("connection").abort()
            await in_bash(process, home)

        async with AsyncExitStack() as servers:
            for host in HOSTS:
                server = await servers.enter_async_context(serving(partial(run, home=homes[host.name])))
                add_connection(monkeypatch, server.port, host.conn_id)
            async with asyncio.timeout(60):
                return await transfer.copy(*HOSTS, "~/step")

    return lambda breaks_at=None: asyncio.run(go(breaks_at))


def test_a_file_is_copied(copy, homes):
    assert copy() == 1
    assert (homes["host-b"] / "step" / "shard.pt").read_text() == "weights"


def test_a_target_that_cannot_be_written_is_named_with_the_reason(copy, homes):
    (homes["host-b"] / "step" / "shard.pt" / "in the way").mkdir(parents=True)
    with pytest.raises(
        HostError, match=r"(?s)^host-b: the files of host-a cannot be written to ~/step \(tar: "
    ):
        copy()


def test_a_folder_without_a_file_that_matches_is_named_with_its_host(copy, homes):
    (homes["host-a"] / "step" / "shard.pt").unlink()
    with pytest.raises(HostError, match="^host-a: the host's shell ended .*No such file"):
        copy()


@pytest.mark.parametrize("command", ["tar cf", "tar xf"])
def test_a_connection_that_breaks_while_files_are_copied_is_said_to_be_lost(copy, command):
    with pytest.raises(HostError, match=r"^host-[ab]: the connection was lost"):
        copy(breaks_at=command)
