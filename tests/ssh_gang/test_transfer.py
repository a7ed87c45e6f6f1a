"""What a copy says that fails on the target; a shell on this machine stands in for each host."""

from __future__ import annotations

import asyncio
import os
from asyncio.subprocess import PIPE
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from ssh_gang import transfer
from ssh_gang.errors import HostError
from ssh_gang.model import GangHost

HOSTS = [GangHost(name=name, conn_id=name) for name in ("host-a", "host-b")]


class Shell:
    """Runs commands as asyncssh's connection does, with a home directory of its own."""

    def __init__(self, home: Path) -> None:
        self.env = os.environ | {"HOME": str(home)}

    async def run(self, command, stdin=PIPE, encoding=None, **options):
        process = await asyncio.create_subprocess_shell(
            command, stdin=stdin, stdout=PIPE, stderr=PIPE, env=self.env
        )
        stdout, stderr = await process.communicate(options.get("input"))
        return SimpleNamespace(exit_status=process.returncode, stdout=stdout, stderr=stderr)

    @asynccontextmanager
    async def create_process(self, command, encoding=None):
        readable, writable = os.pipe()
        process = await asyncio.create_subprocess_shell(command, stdout=writable, env=self.env)
        os.close(writable)
        yield SimpleNamespace(stdout=readable)
        os.close(readable)
        await process.wait()


@pytest.fixture
def homes(tmp_path, monkeypatch) -> dict[str, Path]:
    """The hosts' home directories; the first has a file in its folder `step`."""
    homes = {host.name: tmp_path / host.name for host in HOSTS}
    for home in homes.values():
        (home / "step").mkdir(parents=True)
    (homes["host-a"] / "step" / "shard.pt").write_text("weights")

    @asynccontextmanager
    async def connected(host, conn_id):
        yield Shell(homes[host])

    monkeypatch.setattr(transfer, "connected", connected)
    return homes


def test_a_file_is_copied(homes):
    assert asyncio.run(transfer.copy(*HOSTS, "~/step")) == 1
    assert (homes["host-b"] / "step" / "shard.pt").read_text() == "weights"


def test_a_target_that_cannot_be_written_is_named_with_the_reason(homes):
    (homes["host-b"] / "step" / "shard.pt" / "in the way").mkdir(parents=True)
    with pytest.raises(
        HostError, match=r"(?s)^host-b: the files of host-a cannot be written to ~/step \(tar: "
    ):
        asyncio.run(transfer.copy(*HOSTS, "~/step"))
