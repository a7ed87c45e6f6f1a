"""SSH to the hosts: one place that opens connections, for operators and triggers alike."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeVar

from airflow.providers.ssh.hooks.ssh import SSHHookAsync

from sqltune.errors import HostError

if TYPE_CHECKING:
    from asyncssh import SSHClientConnection

T = TypeVar("T")

CONNECTION_LOST: tuple[type[Exception], ...] = (OSError, asyncio.TimeoutError)
"""Errors after which connecting again is worth a try; asyncssh's own are added when it is imported."""


def _reason(error: Exception, conn_id: str) -> str:
    """What a failed connection means, and what to do."""
    import asyncssh

    text = str(error) or type(error).__name__
    if isinstance(error, asyncssh.HostKeyNotVerifiable):
        return f"its host key is not the one that is known ({text}): if the host was reinstalled, put its new key into connection {conn_id!r} (host_key or known_hosts)"
    if isinstance(error, asyncssh.PermissionDenied):
        return f"the key of connection {conn_id!r} was not accepted ({text}): add its public half to authorized_keys on the host, or correct key_file and login"
    if isinstance(error, (asyncio.TimeoutError, OSError)):
        return f"does not answer ({text}): check that it is on, and the host and port of connection {conn_id!r}"
    return f"{text}: check connection {conn_id!r}"


async def connect(host: str, conn_id: str, timeout: float) -> SSHClientConnection:
    """An open connection; `HostError` with the host's name, the cause and the fix. The host key is always checked."""
    import asyncssh

    # asyncssh tells every command at INFO; a watched gang sends one a second.
    logging.getLogger("asyncssh").setLevel(logging.WARNING)
    hook = SSHHookAsync(ssh_conn_id=conn_id, keepalive_interval=15)
    try:
        return await asyncio.wait_for(hook.get_conn(), timeout)
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
    result = await asyncio.wait_for(connection.run("bash -s", input=script.encode(), encoding=None), timeout)
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
