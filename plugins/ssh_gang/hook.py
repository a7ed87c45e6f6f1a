"""The SSH connections of one gang, and what is done over them: query, launch, wait, stop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from ssh_gang import commands, protocol
from ssh_gang.errors import GangError, HostError, HostsBusy
from ssh_gang.milestone import Milestone, prepared
from ssh_gang.model import Gang, Member
from ssh_gang.resume import Decision, decide
from ssh_gang.ssh import bash, connect, disconnect, lost, on_all, raise_all
from ssh_gang.state import JobState
from ssh_gang.text import decode

if TYPE_CHECKING:
    from asyncssh import SSHClientConnection

    from ssh_gang.session import InteractiveSession

T = TypeVar("T")

PREPARE_MARGIN = 30.0
"""Seconds beyond the limit `prepare`, which the host keeps by itself, until it is taken for silent."""

START_TIMEOUT = 30.0
"""Seconds until a host has confirmed the start signal."""

STOP_MARGIN = 90.0
"""Seconds beyond the grace period that stopping may take: SIGKILL, and waiting for the GPUs to be free."""

EXCERPT = 200
"""Characters of an unexpected answer that an error message quotes."""


class _PreparedHost(NamedTuple):
    """A host that waits for the start signal, and the session over which it gets it."""

    member: Member
    session: InteractiveSession


class GangHook:
    """One connection per host for as long as the gang is watched.

    A connection is opened when it is first needed, and again after it broke.

    Args:
        gang: The gang; after `launch`, the attribute of this name is the gang that runs.
    """

    def __init__(self, gang: Gang) -> None:
        self.gang = gang
        self._connections: dict[str, SSHClientConnection] = {}
        self._locks = {member.host: asyncio.Lock() for member in gang.members}
        self.milestones: list[Milestone] = []
        """What `launch` has done; empty where it found a gang that runs or has ended."""

    async def __aenter__(self) -> GangHook:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections; what runs on the hosts goes on."""
        connections = list(self._connections.values())
        self._connections.clear()
        await asyncio.gather(*map(disconnect, connections))

    async def run(self, member: Member, script: str, limit: float = 60) -> bytes:
        """Run a script on a member's host and return its stdout.

        Raises:
            HostError: The host cannot be reached, or the script failed or took longer than `limit` seconds.
        """
        async with self._connected(member) as connection:
            return await bash(connection, script, limit)

    @asynccontextmanager
    async def interact(self, member: Member, script: str) -> AsyncIterator[InteractiveSession]:
        """Run a script that stays connected, for the length of a block.

        Raises:
            HostError: The host cannot be reached, or the connection breaks within the block.
        """
        # Imported here: asyncssh takes half a second, and a DAG file that names an operator does not need it.
        from ssh_gang.session import InteractiveSession

        command, script_text = commands.interactive_command(script)
        async with self._connected(member) as connection:
            session = InteractiveSession()
            await connection.create_session(lambda: session, command, encoding=None)
            try:
                session.write(script_text)
                yield session
            finally:
                session.close()

    async def on_every_host(
        self, call: Callable[[Member], Awaitable[T]], kind: type[Exception] = GangError
    ) -> list[T]:
        """Call a function for every member at once, and return the results.

        Raises:
            kind: At least one call failed; the message has a line for each.
        """
        return raise_all(await on_all(self.gang.members, call), kind)

    async def states(self) -> list[JobState]:
        """Return the state of every host, in the members' order.

        Raises:
            HostError: A host does not answer; the message names each.
        """
        return await self.on_every_host(self._state, HostError)

    async def launch(self, prepare: Callable[[Gang], Awaitable[Gang]] | None = None) -> tuple[Decision, Gang]:
        """Start the gang, or find the one that runs.

        Args:
            prepare: Returns the gang to start; called when no process of an earlier attempt is left.

        Returns:
            The decision, and the gang as it runs.

        Raises:
            HostError: A host does not answer. Nothing was started.
            HostsBusy: Another exclusive gang occupies a host. Nothing was started.
            GangError: A host cannot be prepared, or a newer attempt owns it. Nothing runs of this attempt.
        """
        began = time.time()
        states = await self.states()
        decision = decide(states, self.gang)
        if decision in (Decision.RECONNECT, Decision.ALREADY_SUCCEEDED):
            self.gang = self.gang.model_copy(update={"attempt": states[0].attempt})
            return decision, self.gang
        if decision is Decision.TERMINAL_RESUBMIT:
            await self.stop(attempt=None)
        self.milestones.append(Milestone(kind="submitted", at=began))
        if prepare:
            self.gang = await prepare(self.gang)
        if step := self.gang.resumed_from:
            self.milestones.append(Milestone(kind="resumed", at=time.time(), number=step))
        await self._start([state.attempt for state in states])
        return decision, self.gang

    async def wait_until_free(self) -> None:
        """Wait until no other exclusive gang runs on any host of this one; the caller sets the time limit.

        Raises:
            HostError: A host cannot be reached, or a connection broke.
        """
        await self.on_every_host(self._wait_until_host_is_free, HostError)

    async def stop(self, attempt: str | None) -> dict[str, int]:
        """Stop every process of an attempt on every host, and verify it.

        Args:
            attempt: The attempt; None for the one that is found on each host.

        Returns:
            The number of processes left, by host: 0 for each.

        Raises:
            GangError: A host cannot be reached, a process is left, or a newer attempt owns the host.
        """

        async def stop_member(member: Member) -> int:
            return await self._stop_on_host(member, attempt)

        counts = await self.on_every_host(stop_member)
        left = {member.host: count for member, count in zip(self.gang.members, counts, strict=True)}
        if any(left.values()):
            listed = ", ".join(f"{count} on {host}" for host, count in left.items() if count)
            raise GangError(
                f"processes are left: {listed}. End those with {commands.MARKER}={self.gang.name}@… in their "
                "environment by hand, or wait until the driver lets go of them, then clear the task"
            )
        return left

    async def refuse(self) -> None:
        """Note on every host that the gang, although it ended with exit code 0, did not do its work."""
        await self.on_every_host(lambda m: self.run(m, commands.mark_refused_command(self.gang)))

    async def tail(self, member: Member, rank: int | None = None, lines: int = 30) -> str:
        """Return the last lines of a member's output, or of one rank's."""
        return decode(await self.run(member, commands.tail_command(self.gang, rank, lines)))

    @asynccontextmanager
    async def _connected(self, member: Member) -> AsyncIterator[SSHClientConnection]:
        """The member's connection; where it breaks within the block it is dropped, and `HostError` raised."""
        import asyncssh

        connection = await self._connection(member)
        try:
            yield connection
        except (asyncssh.Error, OSError) as e:
            # It cannot be used any more: the next call opens another, and may have done so already.
            if self._connections.get(member.host) is connection:
                del self._connections[member.host]
            await disconnect(connection)
            raise lost(member.host, e) from e

    async def _connection(self, member: Member) -> SSHClientConnection:
        async with self._locks[member.host]:
            connection = self._connections.get(member.host)
            if connection is None or connection.is_closed():
                connection = await connect(member.host, member.conn_id, self.gang.limits.connect)
                self._connections[member.host] = connection
            return connection

    async def _state(self, member: Member) -> JobState:
        answer = await self.run(member, commands.query_state_command(self.gang))
        message = protocol.parse_line(answer)
        if not isinstance(message, protocol.StateReport):
            raise HostError(_unexpected(member, "its state", answer))
        return message.state

    async def _start(self, found_attempts: Sequence[str]) -> None:
        """Prepare every host, then start all; when either fails, nothing of this attempt is left."""
        try:
            async with AsyncExitStack() as sessions:
                hosts = await self._prepare_all(sessions, found_attempts)
                self.milestones.append(prepared(self.gang, time.time()))
                await self._signal_start(hosts)
        except BaseException as e:
            # Some hosts may wait for the signal, and some run already, whatever ended this.
            try:
                await asyncio.shield(self.stop(self.gang.attempt))
            except GangError as leftover:
                if isinstance(e, Exception):
                    raise GangError(f"{e}\nand not all hosts could be stopped again: {leftover}") from e
            raise

    async def _prepare_all(
        self, sessions: AsyncExitStack, found_attempts: Sequence[str]
    ) -> list[_PreparedHost]:
        """First phase: every host prepares, or none starts."""
        pairs = zip(self.gang.members, found_attempts, strict=True)
        first, *others = sorted(pairs, key=lambda pair: pair[0].conn_id)

        async def prepare_one(pair: tuple[Member, str]) -> _PreparedHost:
            return _PreparedHost(pair[0], await self._prepare(sessions, *pair))

        # One host alone, and every gang begins with the same: of two gangs that need the same hosts, one gets
        # it, and the other none.
        prepared = [await prepare_one(first), *await on_all(others, prepare_one)]
        busy = next((result for result in prepared if isinstance(result, HostsBusy)), None)
        if busy:
            raise busy
        return raise_all(prepared, GangError)

    async def _prepare(
        self, sessions: AsyncExitStack, member: Member, found_attempt: str
    ) -> InteractiveSession:
        """Prepare one host, and return the session that waits for the start signal."""
        import asyncssh

        script = commands.prepare_command(self.gang, member, found_attempt or None)
        session = await sessions.enter_async_context(self.interact(member, script))
        limit = self.gang.limits.prepare + PREPARE_MARGIN
        try:
            async with asyncio.timeout(limit):
                answer = await session.stdout.readline()
                # A script that has ended without an answer has said why.
                stderr = b"" if answer else await session.stderr.read()
        except TimeoutError:
            raise GangError(
                f"{member.host}: not prepared after {limit:.0f} s (limit prepare): look at its load and its "
                "disk, or raise the limit"
            ) from None
        except (asyncssh.Error, OSError) as e:
            raise lost(member.host, e) from e
        match protocol.parse_line(answer):
            case protocol.Prepared():
                return session
            case protocol.Busy(marker):
                raise HostsBusy(f"{member.host}: {marker} runs there")
            case protocol.Claimed(attempt):
                folder = self.gang.folder
                raise GangError(
                    f"{member.host}: another attempt ({attempt}) has just claimed {folder}; this one leaves "
                    "it alone, and a retry watches it"
                )
            case protocol.Refused(reason):
                raise GangError(f"{member.host}: cannot be prepared: {reason}")
        reason = (answer or stderr or b"no answer").decode(errors="replace").strip()
        raise GangError(f"{member.host}: cannot be prepared: {reason}")

    async def _signal_start(self, hosts: Sequence[_PreparedHost]) -> None:
        """Second phase: the start signal to all, over sessions that are open, with nothing in between."""
        at = time.time()
        for host in hosts:
            try:
                host.session.write(protocol.start_signal())
            except OSError as e:
                raise lost(host.member.host, e) from e
        self.milestones.append(Milestone(kind="started", at=at))
        raise_all(await on_all(hosts, _confirm_start), GangError)

    async def _wait_until_host_is_free(self, member: Member) -> None:
        async with self.interact(member, commands.wait_until_free_command(self.gang)) as session:
            async for line in session.stdout:
                if isinstance(protocol.parse_line(line), protocol.Free):
                    return
        raise HostError(f"{member.host}: the session ended before the host was free")

    async def _stop_on_host(self, member: Member, attempt: str | None) -> int:
        """Stop an attempt on one host, and return the number of processes left."""
        script = commands.stop_command(self.gang, attempt, member.accelerator)
        answer = await self.run(member, script, self.gang.limits.grace + STOP_MARGIN)
        match protocol.parse_line(answer):
            case protocol.Stopped(processes_left):
                return processes_left
            case protocol.Fenced(newer):
                raise GangError(
                    f"{member.host}: attempt {newer} is newer; this one is overtaken, and stops nothing"
                )
            case _:
                raise HostError(_unexpected(member, "the number of processes left", answer))


async def _confirm_start(prepared: _PreparedHost) -> None:
    import asyncssh

    name = prepared.member.host
    try:
        async with asyncio.timeout(START_TIMEOUT):
            answer = await prepared.session.stdout.readline()
    except TimeoutError:
        raise GangError(
            f"{name}: prepared, but did not confirm the start signal within {START_TIMEOUT:.0f} s: look at "
            "its load, then clear the task"
        ) from None
    except (asyncssh.Error, OSError) as e:
        raise lost(name, e) from e
    if not isinstance(protocol.parse_line(answer), protocol.Started):
        raise GangError(_unexpected(prepared.member, "that it had started", answer))


def _unexpected(member: Member, expected: str, answer: bytes) -> str:
    """The error message for an answer that is not of the protocol, or of another part of it."""
    text = answer.decode(errors="replace").strip()[:EXCERPT]
    return (
        f"{member.host}: expected {expected}, found {text!r}. Login scripts there must print nothing when no "
        "person logs in: look at ~/.bashrc"
    )
