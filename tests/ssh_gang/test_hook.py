"""What a gang's hook makes of answers that it does not expect; the hosts are scripted."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import pytest

from ssh_gang import hook as hook_module
from ssh_gang.errors import GangError, HostError
from ssh_gang.hook import GangHook
from ssh_gang.model import Gang, Member
from ssh_gang.session import InteractiveSession

GANG = Gang(
    name="dag.task.run",
    attempt="try1",
    root="/gangs",
    members=[Member(host=name, conn_id=name, argv=["true"], cwd="/work") for name in ("host-a", "host-b")],
)


class Channel:
    """Takes what is written to a host."""

    def write(self, data: bytes) -> None:
        pass

    def close(self) -> None:
        pass

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


@pytest.fixture
def answers(monkeypatch) -> dict[str, list[bytes]]:
    """Lines that each host prints in a session: prepared, then the answer to the start signal."""
    lines = {member.host: [b"prepared\n", b"started\n"] for member in GANG.members}

    async def run(self, member, script, limit=60):
        return b"stopped=0" if "grace_tenths" in script else b"state=absent now=1"

    @asynccontextmanager
    async def interact(self, member, script):
        session = InteractiveSession()
        session.connection_made(Channel())
        for line in lines[member.host]:
            session.data_received(line, None)
        yield session

    monkeypatch.setattr(GangHook, "run", run)
    monkeypatch.setattr(GangHook, "interact", interact)
    return lines


def launch() -> None:
    asyncio.run(GangHook(GANG).launch())


def test_hosts_that_confirm_the_start_signal_are_started(answers):
    launch()


def test_a_host_that_does_not_confirm_the_start_signal_is_named(answers, monkeypatch):
    monkeypatch.setattr(hook_module, "START_TIMEOUT", 0.05)
    answers["host-b"].pop()
    with pytest.raises(GangError, match="^host-b: prepared, but did not confirm the start signal"):
        launch()


def test_a_host_that_answers_the_start_signal_with_something_else_is_named(answers):
    answers["host-b"][1] = b"bash: start: command not found\n"
    with pytest.raises(GangError, match="^host-b: expected that it had started, found 'bash: start"):
        launch()


def test_what_a_login_script_prints_is_quoted(answers, monkeypatch):
    async def run(self, member, script, limit=60):
        return b"Welcome!\nstate=absent now=1"

    monkeypatch.setattr(GangHook, "run", run)
    with pytest.raises(HostError, match=r"host-a: expected its state, found 'Welcome!.*\.bashrc"):
        asyncio.run(GangHook(GANG).states())
