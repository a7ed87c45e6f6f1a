"""An SSH server in the event loop of the test, reached through an Airflow Connection: quick to start."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncssh
import pytest

CONN_ID = "host_a"
"""Connection of the server."""

Program = Callable[[asyncssh.SSHServerProcess], Awaitable[None]]
"""What the server runs for every command."""

LOGIN_KEY = asyncssh.generate_private_key("ssh-ed25519")
HOST_KEY = asyncssh.generate_private_key("ssh-ed25519")


async def in_bash(process: asyncssh.SSHServerProcess, home: Path | None = None) -> None:
    """Run the command as sshd does: in a shell, with the channel as input and outputs.

    asyncssh can pass pipes on by itself, but ends the connection where one of them breaks.
    """
    shell = await asyncio.create_subprocess_exec(
        "bash",
        "-c",
        process.command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
        env=os.environ | ({"HOME": str(home)} if home else {}),
    )

    async def until_it_exits() -> None:
        await asyncio.gather(_pass_on(shell.stdout, process.stdout), _pass_on(shell.stderr, process.stderr))
        _exit(process, await shell.wait())

    exits, hangs_up, input_ = map(
        asyncio.ensure_future,
        (until_it_exits(), process.channel.wait_closed(), _pass_on(process.stdin, shell.stdin)),
    )
    await asyncio.wait({exits, hangs_up}, return_when=asyncio.FIRST_COMPLETED)
    if shell.returncode is None:
        # It may have ended just now.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(shell.pid, signal.SIGKILL)
    exits.cancel()
    input_.cancel()
    await asyncio.gather(exits, hangs_up, input_, return_exceptions=True)
    # asyncio closes the pipes by itself only when all output was read, and waits for that.
    shell._transport.close()
    await shell.wait()


async def _pass_on(source: Any, target: Any) -> None:
    """Pass on bytes until the source ends, or either side is closed."""
    with contextlib.suppress(OSError, asyncssh.Error):
        while data := await source.read(65536):
            target.write(data)
            await target.drain()
        if isinstance(target, asyncio.StreamWriter):
            target.close()


def _exit(process: asyncssh.SSHServerProcess, code: int) -> None:
    if code < 0:
        process.exit_with_signal(signal.Signals(-code).name.removeprefix("SIG"))
    else:
        process.exit(code)


@dataclass
class Server:
    """The server, and who has connected to it."""

    port: int = 0
    connections: list[asyncssh.SSHServerConnection] = field(default_factory=list)
    logging_in: int = 0
    """Logins in progress."""
    most_at_once: int = 0
    """The largest number of logins in progress at one time."""
    running: set[asyncio.Task[None]] = field(default_factory=set)
    """Programs that have not ended."""
    drops: int = 0
    """Connections that are dropped before the login, as sshd does beyond MaxStartups."""

    def drop_connections(self) -> None:
        """Break every connection, as a network does."""
        for connection in self.connections:
            connection.abort()
        self.connections.clear()


class _Login(asyncssh.SSHServer):
    def __init__(self, server: Server) -> None:
        self._server = server

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        if self._server.drops:
            self._server.drops -= 1
            conn.abort()
            return
        self._server.connections.append(conn)
        self._server.logging_in += 1
        self._server.most_at_once = max(self._server.most_at_once, self._server.logging_in)

    def auth_completed(self) -> None:
        self._server.logging_in -= 1


@asynccontextmanager
async def serving(program: Program = in_bash, **options: Any) -> AsyncIterator[Server]:
    """Serve on a free port of loopback for the length of a block."""
    server = Server()

    async def run(process: asyncssh.SSHServerProcess) -> None:
        task = asyncio.current_task()
        assert task
        server.running.add(task)
        # asyncssh ends the whole connection for a program that fails because its client has hung up.
        with contextlib.suppress(Exception):
            await program(process)

    accepted = asyncssh.import_authorized_keys(LOGIN_KEY.export_public_key().decode())
    defaults = {"authorized_client_keys": accepted, "server_factory": lambda: _Login(server)}
    listener = await asyncssh.listen(
        "127.0.0.1",
        0,
        server_host_keys=[HOST_KEY],
        process_factory=run,
        encoding=None,
        **defaults | options,
    )
    server.port = listener.get_port()
    try:
        yield server
    finally:
        server.drop_connections()
        listener.close()
        await listener.wait_closed()
        await asyncio.gather(*server.running)


def add_connection(
    monkeypatch: pytest.MonkeyPatch, port: int, conn_id: str = CONN_ID, host: str = "127.0.0.1", **extra: Any
) -> None:
    """Add an Airflow Connection that knows the server's host key and has a key that the server accepts."""
    known = {
        "private_key": LOGIN_KEY.export_private_key().decode(),
        "host_key": HOST_KEY.export_public_key().decode(),
    }
    value = {
        "conn_type": "ssh",
        "host": host,
        "port": port,
        "login": "somebody",
        "extra": {name: value for name, value in (known | extra).items() if value is not None},
    }
    monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(value))


@asynccontextmanager
async def listening(answer: Callable[[asyncio.StreamReader], Awaitable[None]]) -> AsyncIterator[int]:
    """Listen with something that is not an SSH server, and hangs up when `answer` returns; the port."""
    answering: set[asyncio.Task[None]] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        answering.add(task)
        await answer(reader)
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await server.wait_closed()
        await asyncio.gather(*answering)
