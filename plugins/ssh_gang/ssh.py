"""SSH to the hosts: one place that opens connections, for operators and triggers alike."""

from __future__ import annotations

import asyncio
import logging
import os
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeVar
from weakref import WeakKeyDictionary

from airflow.providers.ssh.hooks.ssh import SSHHookAsync

from ssh_gang.errors import HostError

if TYPE_CHECKING:
    from asyncssh import SSHClientConnection

T = TypeVar("T")

OPENING_AT_ONCE = 4
"""Connections that one process opens to one host at a time: sshd turns new ones away beyond MaxStartups (10 by default, for everybody)."""

_opening: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, asyncio.Semaphore]] = WeakKeyDictionary()


def _turn(conn_id: str) -> asyncio.Semaphore:
    """The queue of those who want to open a connection to one host, in this event loop."""
    return _opening.setdefault(asyncio.get_running_loop(), {}).setdefault(
        conn_id, asyncio.Semaphore(OPENING_AT_ONCE)
    )


def _words(error: Exception) -> str:
    return str(error) or type(error).__name__


def _reason(error: Exception, conn_id: str) -> str:
    """What a failed connection means, and what to do."""
    import asyncssh

    text = _words(error)
    if isinstance(error, asyncssh.HostKeyNotVerifiable):
        return f"its host key is not the one that is known ({text}): if the host was reinstalled, put its new key into connection {conn_id!r} (host_key or known_hosts)"
    if isinstance(error, asyncssh.PermissionDenied):
        return f"the key of connection {conn_id!r} was not accepted ({text}): add its public half to authorized_keys on the host, or correct key_file and login"
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename} of connection {conn_id!r} can't be read by Airflow (user {os.getuid()}): {error.strerror}; correct key_file or known_hosts, or the file's owner and mode"
    if isinstance(error, (asyncio.TimeoutError, OSError)):
        return (
            f"does not answer ({text}): check that it is on, and the host and port of connection {conn_id!r}"
        )
    return f"{text}: check connection {conn_id!r}"


async def connect(host: str, conn_id: str, timeout: float) -> SSHClientConnection:
    """An open connection; `HostError` with the host's name, the cause and the fix. The host key is always checked.

    Turned away before it could log in (MaxStartups, or sshd starting again), it tries again until `timeout` seconds have passed,
    each time after a longer and less foreseeable pause.
    """
    import asyncssh

    # asyncssh tells every command at INFO; a launch sends several to every host.
    logging.getLogger("asyncssh").setLevel(logging.WARNING)
    hook = SSHHookAsync(ssh_conn_id=conn_id, keepalive_interval=15)
    deadline, pause = asyncio.get_running_loop().time() + timeout, 0.1
    async with _turn(conn_id):
        while True:
            left = deadline - asyncio.get_running_loop().time()
            try:
                async with asyncio.timeout(max(left, 0.001)):
                    return await hook.get_conn()
            except (asyncssh.ConnectionLost, ConnectionResetError, BrokenPipeError) as e:
                if left < pause:
                    raise HostError(
                        f"{host}: turns every connection away for {timeout:.0f} s ({_words(e)}): look at sshd's log there; MaxStartups may be too low"
                    ) from e
                await asyncio.sleep(pause * random.uniform(0.5, 1.5))
                pause = min(2 * pause, 3.0)
            except (TimeoutError, asyncssh.Error, OSError, ValueError) as e:
                raise HostError(f"{host}: {_reason(e, conn_id)}") from e
            except Exception as e:
                # Airflow's own "not found", which has a class of its own in each process it is asked from.
                raise HostError(f"{host}: connection {conn_id!r}: {e}") from e


@asynccontextmanager
async def connected(host: str, conn_id: str, timeout: float = 30) -> AsyncIterator[SSHClientConnection]:
    """A connection for the length of a block."""
    connection = await connect(host, conn_id, timeout)
    try:
        yield connection
    finally:
        connection.close()


async def bash(connection: SSHClientConnection, script: str, timeout: float | None = None) -> bytes:
    """Run a script with bash on the host and return what it printed; `HostError` with its last words when it fails."""
    async with asyncio.timeout(timeout):
        result = await connection.run("bash -s", input=script.encode(), encoding=None)
    if result.exit_status != 0:
        words = bytes(result.stderr or result.stdout or b"").decode(errors="replace").strip()
        raise HostError(f"the host's shell ended with {result.exit_status}: {words[-1500:]}")
    return bytes(result.stdout or b"")


async def on_all(items: Sequence[T], do: Callable[[T], Awaitable[object]]) -> list[object]:
    """`do` for every item at once; every result, or the exception in its place, so that one host's trouble hides no other's."""
    return list(await asyncio.gather(*(do(item) for item in items), return_exceptions=True))


def raise_all(results: Sequence[object], kind: type[Exception] = HostError) -> None:
    """One error with a line for every failed host."""
    failed = [r for r in results if isinstance(r, BaseException)]
    if failed:
        raise kind("\n".join(str(f) or repr(f) for f in failed)) from failed[0]
