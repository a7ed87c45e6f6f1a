"""SSH to the hosts: the one place that opens connections, for operators and triggers alike."""

from __future__ import annotations

import asyncio
import logging
import os
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeVar
from weakref import WeakKeyDictionary

from ssh_gang.errors import HostError
from ssh_gang.text import decode

if TYPE_CHECKING:
    from airflow.providers.ssh.hooks.ssh import SSHHookAsync
    from asyncssh import SSHClientConnection

    from ssh_gang.answer import Answer

T = TypeVar("T")
R = TypeVar("R")

OPENING_AT_ONCE = 4
"""Connections that one process opens to one host at a time; sshd drops those beyond MaxStartups (10)."""

KEEPALIVE = 15
"""Seconds between two keepalive messages on a connection."""

FIRST_PAUSE = 0.1
"""Seconds before a connection that sshd dropped is tried again; each further pause is twice as long."""

LONGEST_PAUSE = 3.0
"""Seconds between two tries, at most."""

ANSWER_LIMIT = 32 * 1024 * 1024
"""Bytes that a script may print; the largest answer, the hashes of a checkpoint, has some kilobytes."""

ERROR_TAIL = 1500
"""Characters of a failed script's output that its error message holds."""

_HOST_NAME = "ssh_gang_host"
"""Key of a connection's extra information: the host's name in error messages."""

_opening: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, asyncio.Semaphore]] = WeakKeyDictionary()


async def connect(host: str, conn_id: str, limit: float) -> SSHClientConnection:
    """Open a connection; the host key is always checked.

    When sshd drops the connection before the login (MaxStartups, or sshd restarts), it is tried again, each
    time after a longer, randomised pause.

    Args:
        host: Name of the host in error messages.
        conn_id: Airflow Connection of the host.
        limit: Seconds that all tries together may take.

    Raises:
        HostError: No connection; the message has the host's name, the cause and the remedy.
    """
    import asyncssh

    from ssh_gang.checking_hook import CheckingHook

    # asyncssh logs each command at INFO, and a launch sends several to every host.
    logging.getLogger("asyncssh").setLevel(logging.WARNING)
    hook: SSHHookAsync = CheckingHook(ssh_conn_id=conn_id, keepalive_interval=KEEPALIVE)
    pause, drop = FIRST_PAUSE, None
    try:
        async with asyncio.timeout(limit), _opening_slot(conn_id):
            while True:
                try:
                    connection: SSHClientConnection = await hook.get_conn()
                except (asyncssh.ConnectionLost, ConnectionResetError, BrokenPipeError) as e:
                    drop = e
                    await asyncio.sleep(pause * random.uniform(0.5, 1.5))
                    pause = min(2 * pause, LONGEST_PAUSE)
                else:
                    connection.set_extra_info(**{_HOST_NAME: host})
                    return connection
    except (asyncssh.Error, OSError, ValueError) as e:
        if drop and isinstance(e, TimeoutError):
            raise HostError(_dropped(host, limit, drop)) from drop
        raise HostError(f"{host}: {_cause_and_remedy(e, conn_id)}") from e
    except Exception as e:
        # Airflow's "not found": its class differs with the process in which the Connection is read.
        raise HostError(f"{host}: connection {conn_id!r}: {e}") from e


async def disconnect(connection: SSHClientConnection) -> None:
    """Close a connection, and wait until its socket is closed too."""
    connection.close()
    await connection.wait_closed()


@asynccontextmanager
async def connected(host: str, conn_id: str, limit: float = 30) -> AsyncIterator[SSHClientConnection]:
    """Open a connection for the length of a block; arguments and errors are those of `connect`."""
    connection = await connect(host, conn_id, limit)
    try:
        yield connection
    finally:
        await disconnect(connection)


async def bash(connection: SSHClientConnection, script: str, limit: float | None = None) -> bytes:
    """Run a script with bash on the host and return its stdout.

    Args:
        connection: From `connect`.
        script: Text of the script.
        limit: Seconds that it may take; None for any number.

    Raises:
        HostError: The script failed, took too long or printed too much, or the connection was lost; the
            message has the host's name and the end of the script's output.
    """
    import asyncssh

    from ssh_gang.answer import TooLong

    host = connection.get_extra_info(_HOST_NAME)
    try:
        async with asyncio.timeout(limit) as deadline:
            answer = await _run(connection, script)
    except TooLong as e:
        raise HostError(
            f"{host}: a script printed more than {ANSWER_LIMIT >> 20} MiB and was given up: look at what its "
            "shell prints there (.bashrc, /etc/profile)"
        ) from e
    except (asyncssh.Error, OSError) as e:
        if deadline.expired():
            raise HostError(f"{host}: a script did not end within {limit} s") from e
        raise lost(host, e) from e
    if answer.exit_status != 0:
        raise HostError(f"{host}: {_failure(answer)}")
    return bytes(answer.stdout)


async def on_all(items: Iterable[T], call: Callable[[T], Awaitable[R]]) -> list[R | BaseException]:
    """Call a function for every item at once.

    Returns:
        For each item the result, or the exception in its place: one host's trouble hides no other's.
    """
    return list(await asyncio.gather(*map(call, items), return_exceptions=True))


def raise_all(results: Sequence[R | BaseException], kind: type[Exception] = HostError) -> list[R]:
    """Return the results of `on_all`.

    Raises:
        kind: At least one is an exception; the message has a line for each.
    """
    failed = [result for result in results if isinstance(result, BaseException)]
    if failed:
        raise kind("\n".join(str(error) or repr(error) for error in failed)) from failed[0]
    return [result for result in results if not isinstance(result, BaseException)]


def lost(host: str, error: Exception) -> HostError:
    """Return the error for a connection that broke after it had been opened."""
    return HostError(f"{host}: the connection was lost ({_text(error)})")


def _opening_slot(conn_id: str) -> asyncio.Semaphore:
    """Limits the connections that are opened to one host at a time, in this event loop."""
    slots = _opening.setdefault(asyncio.get_running_loop(), {})
    return slots.setdefault(conn_id, asyncio.Semaphore(OPENING_AT_ONCE))


async def _run(connection: SSHClientConnection, script: str) -> Answer:
    from ssh_gang.answer import Answer

    answer = Answer(ANSWER_LIMIT)
    channel, _ = await connection.create_session(lambda: answer, "bash -s", encoding=None)
    try:
        channel.write(script.encode())
        channel.write_eof()
        await answer.wait()
    finally:
        # Whoever stops waiting gives the channel back: sshd allows ten in one connection (MaxSessions).
        channel.close()
    return answer


def as_bytes(output: bytes | str | None) -> bytes:
    """Return the output of a command that was run without an encoding; asyncssh's type allows text too."""
    return output if isinstance(output, bytes) else (output or "").encode()


def _failure(answer: Answer) -> str:
    """How a script failed, and the end of what it said."""
    if answer.exit_signal:
        end = f"the host's shell was killed by signal {answer.exit_signal}"
    elif answer.exit_status is None:
        end = "the connection was lost before the host's shell had ended"
    else:
        end = f"the host's shell ended with exit code {answer.exit_status}"
    output = answer.stderr or answer.stdout
    # Indented, so that no line of it looks like another host's.
    tail = decode(bytes(output)).strip().replace("\n", "\n  ")[-ERROR_TAIL:]
    return f"{end}: {tail}" if tail else end


def _text(error: Exception) -> str:
    return str(error) or type(error).__name__


def _dropped(host: str, limit: float, error: Exception) -> str:
    return (
        f"{host}: sshd dropped every connection for {limit:.0f} s ({_text(error)}): look at sshd's log "
        "there; MaxStartups may be too low"
    )


def _cause_and_remedy(error: Exception, conn_id: str) -> str:
    """What a failed connection means, and what to do."""
    import asyncssh

    text = _text(error)
    if isinstance(error, asyncssh.HostKeyNotVerifiable):
        return (
            f"its host key is not the known one ({text}): if the host was reinstalled, put its new key into "
            f"connection {conn_id!r} (host_key or known_hosts)"
        )
    if isinstance(error, asyncssh.PermissionDenied):
        return (
            f"the key of connection {conn_id!r} was not accepted ({text}): add its public half to "
            "authorized_keys on the host, or correct key_file and login"
        )
    if isinstance(error, OSError) and error.filename:
        return (
            f"Airflow (user {os.getuid()}) cannot read {error.filename} of connection {conn_id!r}: "
            f"{error.strerror}; correct key_file or known_hosts, or the file's owner and mode"
        )
    if isinstance(error, (asyncio.TimeoutError, OSError)):
        return (
            f"does not answer ({text}): check that it is on, and the host and port of connection {conn_id!r}"
        )
    return f"{text}: check connection {conn_id!r}"
