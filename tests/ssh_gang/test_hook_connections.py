"""The connections of a gang's hook: opened when needed, shared, dropped when they break, closed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import asyncssh
import pytest

from ssh_gang.errors import HostError
from ssh_gang.hook import GangHook
from ssh_gang.model import Gang, Limits, Member
from tests.ssh_gang.ssh_server import (
    CONN_ID,
    Program,
    Server,
    add_connection,
    in_bash,
    serving,
)

MEMBER = Member(host="a", conn_id=CONN_ID, argv=["true"], cwd="/work")
GANG = Gang(name="dag.task.run", attempt="try1", root="/gangs", members=[MEMBER], limits=Limits(connect=30))


async def silent(process: asyncssh.SSHServerProcess) -> None:
    """Say nothing until the channel is closed."""
    await process.channel.wait_closed()


def with_hook(
    monkeypatch, test: Callable[[GangHook, Server], Awaitable[None]], program: Program = in_bash
) -> None:
    """Run a test on a hook whose one host is a server that runs a program for every command."""

    async def go() -> None:
        async with asyncio.timeout(60), serving(program) as server:
            add_connection(monkeypatch, server.port)
            async with GangHook(GANG) as hook:
                await test(hook, server)

    asyncio.run(go())


def test_calls_at_the_same_time_share_one_connection(monkeypatch):
    async def test(hook: GangHook, server: Server) -> None:
        outputs = await asyncio.gather(*(hook.run(MEMBER, f"echo {n}") for n in range(4)))
        assert outputs == [b"0\n", b"1\n", b"2\n", b"3\n"]
        assert len(server.connections) == 1

    with_hook(monkeypatch, test)


def test_a_connection_that_broke_is_opened_again_by_the_next_call(monkeypatch):
    async def test(hook: GangHook, server: Server) -> None:
        await hook.run(MEMBER, "true")
        server.drop_connections()
        with pytest.raises(HostError, match="^a: the connection was lost"):
            await hook.run(MEMBER, "true")
        assert await hook.run(MEMBER, "echo again") == b"again\n"

    with_hook(monkeypatch, test)


def test_a_late_error_of_a_broken_connection_leaves_the_next_one_alone(monkeypatch):
    """Two calls notice the break one after the other; the first has opened another connection meanwhile."""

    async def test(hook: GangHook, server: Server) -> None:
        async def read_late() -> None:
            async with hook.interact(MEMBER, "script") as session:
                opened.set()
                await reconnected.wait()
                await session.stdout.read()

        opened, reconnected = asyncio.Event(), asyncio.Event()
        late = asyncio.create_task(read_late())
        await opened.wait()
        server.drop_connections()
        with pytest.raises(HostError, match="^a: the connection was lost"):
            await hook.run(MEMBER, "script")
        async with hook.interact(MEMBER, "script"):
            reconnected.set()
            with pytest.raises(HostError, match="^a: the connection was lost"):
                await late
            async with hook.interact(MEMBER, "script"):
                assert len(server.connections) == 1

    with_hook(monkeypatch, test, silent)


def test_an_error_within_a_session_that_is_not_of_the_connection_is_passed_on(monkeypatch):
    async def test(hook: GangHook, server: Server) -> None:
        with pytest.raises(KeyError):
            async with hook.interact(MEMBER, "script"):
                raise KeyError
        async with hook.interact(MEMBER, "script"):
            assert len(server.connections) == 1

    with_hook(monkeypatch, test, silent)


def test_a_script_that_takes_too_long_leaves_other_sessions_open(monkeypatch):
    async def test(hook: GangHook, server: Server) -> None:
        async with hook.interact(MEMBER, "read -r line; echo heard $line") as session:
            with pytest.raises(HostError, match="^a: a script did not end within"):
                await hook.run(MEMBER, "sleep 5", limit=0.2)
            session.write(b"it\n")
            assert await session.stdout.readline() == b"heard it\n"

    with_hook(monkeypatch, test)


def test_close_returns_when_the_connections_are_closed(monkeypatch):
    async def test(hook: GangHook, server: Server) -> None:
        await hook.run(MEMBER, "true")
        [connection] = hook._connections.values()
        await hook.close()
        assert connection.is_closed()

    with_hook(monkeypatch, test)
