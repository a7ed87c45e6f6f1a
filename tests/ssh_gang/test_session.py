"""A session: two outputs kept apart, held back while nobody reads them; a lost connection is an error."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import asyncssh
import pytest

from ssh_gang import session as session_module
from ssh_gang.session import InteractiveSession
from ssh_gang.ssh import connected
from tests.ssh_gang.ssh_server import CONN_ID, Program, Server, add_connection, serving

Test = Callable[[InteractiveSession, Server], Awaitable[None]]


@asynccontextmanager
async def opened(program: Program, monkeypatch) -> AsyncIterator[tuple[InteractiveSession, Server]]:
    """A session in which the server runs a program."""
    async with serving(program) as server:
        add_connection(monkeypatch, server.port)
        async with connected("a", CONN_ID, 30) as connection:
            session = InteractiveSession()
            await connection.create_session(lambda: session, "script", encoding=None)
            yield session, server


def play(monkeypatch, program: Program, test: Test) -> None:
    """Run a test beside the program that the server runs; nothing may take longer than a minute."""

    async def go() -> None:
        async with asyncio.timeout(60), opened(program, monkeypatch) as (session, server):
            await test(session, server)

    asyncio.run(go())


async def echo(process: asyncssh.SSHServerProcess) -> None:
    """Answer each line, until the input ends; then say so on stderr."""
    async for line in process.stdin:
        process.stdout.write(b"heard " + line)
    process.stderr.write(b"input ended\n")
    process.exit(0)


async def silent(process: asyncssh.SSHServerProcess) -> None:
    """Say nothing until the channel is closed."""
    await process.channel.wait_closed()


def test_write_reaches_the_scripts_input(monkeypatch):
    async def test(session: InteractiveSession, server: Server) -> None:
        session.write(b"one\n")
        assert await session.stdout.readline() == b"heard one\n"
        session.write(b"two\n")
        assert await session.stdout.readline() == b"heard two\n"

    play(monkeypatch, echo, test)


def test_stdout_and_stderr_are_apart(monkeypatch):
    async def both(process: asyncssh.SSHServerProcess) -> None:
        for number in range(3):
            process.stdout.write(b"out %d\n" % number)
            process.stderr.write(b"err %d\n" % number)
        process.exit(0)

    async def test(session: InteractiveSession, server: Server) -> None:
        assert await session.stderr.read() == b"err 0\nerr 1\nerr 2\n"
        assert await session.stdout.read() == b"out 0\nout 1\nout 2\n"

    play(monkeypatch, both, test)


def test_both_readers_end_with_the_script(monkeypatch):
    async def ends(process: asyncssh.SSHServerProcess) -> None:
        process.exit(3)

    async def test(session: InteractiveSession, server: Server) -> None:
        assert await session.stdout.readline() == b""
        assert [line async for line in session.stderr] == []

    play(monkeypatch, ends, test)


def test_stderr_is_read_while_nobody_reads_a_stdout_that_is_not_full(monkeypatch):
    """A host's state is known while its output waits."""

    async def much(process: asyncssh.SSHServerProcess) -> None:
        process.stdout.write(b"x" * 100_000)
        process.stderr.write(b"state\n")
        await process.channel.wait_closed()

    async def test(session: InteractiveSession, server: Server) -> None:
        assert await session.stderr.readline() == b"state\n"
        assert await session.stdout.readexactly(100_000) == b"x" * 100_000

    play(monkeypatch, much, test)


def test_output_that_nobody_reads_pauses_the_hosts_program_and_none_is_lost(monkeypatch):
    monkeypatch.setattr(session_module, "READ_LIMIT", 10_000)
    written, total = 0, 8_000_000
    paused = asyncio.Event()

    async def endless(process: asyncssh.SSHServerProcess) -> None:
        nonlocal written
        while written < total:
            process.stdout.write(b"x" * 50_000)
            written += 50_000
            try:
                async with asyncio.timeout(0.2):
                    await process.stdout.drain()
            except TimeoutError:
                paused.set()
                await process.stdout.drain()
        process.exit(0)

    async def test(session: InteractiveSession, server: Server) -> None:
        await paused.wait()
        assert written < total
        received = 0
        while data := await session.stdout.read(65536):
            received += len(data)
        assert received == written == total

    play(monkeypatch, endless, test)


def test_an_endless_stderr_pauses_the_hosts_program_too(monkeypatch):
    written = 0
    paused = asyncio.Event()

    async def endless(process: asyncssh.SSHServerProcess) -> None:
        nonlocal written
        while not paused.is_set():
            process.stderr.write(b"a line\n" * 10_000)
            written += 70_000
            try:
                async with asyncio.timeout(0.2):
                    await process.stderr.drain()
            except TimeoutError:
                paused.set()
        await process.stderr.drain()
        process.exit(0)

    async def test(session: InteractiveSession, server: Server) -> None:
        await paused.wait()
        assert sum([len(line) async for line in session.stderr]) == written

    play(monkeypatch, endless, test)


def test_close_ends_the_scripts_input(monkeypatch):
    ended = asyncio.Event()

    async def waits(process: asyncssh.SSHServerProcess) -> None:
        await process.stdin.read()
        ended.set()

    async def test(session: InteractiveSession, server: Server) -> None:
        session.close()
        await ended.wait()

    play(monkeypatch, waits, test)


def test_write_to_a_session_that_is_closed_is_an_oserror(monkeypatch):
    async def test(session: InteractiveSession, server: Server) -> None:
        session.close()
        with pytest.raises(OSError, match="not open"):
            session.write(b"late\n")

    play(monkeypatch, silent, test)


def test_both_readers_raise_what_broke_the_connection(monkeypatch):
    async def test(session: InteractiveSession, server: Server) -> None:
        reads = [asyncio.create_task(reader.readline()) for reader in (session.stdout, session.stderr)]
        await asyncio.sleep(0)
        server.drop_connections()
        results = await asyncio.gather(*reads, return_exceptions=True)
        assert [type(result) for result in results] == [asyncssh.ConnectionLost] * 2

    play(monkeypatch, silent, test)


def test_write_after_the_connection_broke_is_an_oserror(monkeypatch):
    async def test(session: InteractiveSession, server: Server) -> None:
        server.drop_connections()
        with pytest.raises(asyncssh.ConnectionLost):
            await session.stderr.readline()
        with pytest.raises(OSError, match="not open"):
            session.write(b"late\n")

    play(monkeypatch, silent, test)


def test_a_line_of_stderr_without_an_end_is_refused_before_it_fills_the_memory(monkeypatch):
    async def test(session: InteractiveSession, server: Server) -> None:
        with pytest.raises(ValueError, match="limit"):
            await session.stderr.readline()

    async def endless_line(process: asyncssh.SSHServerProcess) -> None:
        process.stderr.write(b"x" * 200_000)
        await process.channel.wait_closed()

    play(monkeypatch, endless_line, test)
