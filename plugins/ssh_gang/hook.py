"""The connections of one gang, and what is done over them: look, launch, follow, stop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

from ssh_gang import commands, protocol
from ssh_gang.errors import GangError, HostError, HostsBusy
from ssh_gang.model import Gang, Member
from ssh_gang.resume import Decision, decide
from ssh_gang.ssh import bash, connect, on_all, raise_all
from ssh_gang.state import JobState

if TYPE_CHECKING:
    from asyncssh import SSHClientConnection

    from ssh_gang.session import Line


class GangHook:
    """One connection per host for as long as the gang is watched, opened when first needed and again when it broke."""

    def __init__(self, gang: Gang) -> None:
        self.gang = gang
        self._connections: dict[str, SSHClientConnection] = {}
        self._turns = {m.host: asyncio.Lock() for m in gang.members}

    async def __aenter__(self) -> GangHook:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections; what runs on the hosts runs on."""
        for connection in self._connections.values():
            connection.close()
        self._connections.clear()

    @asynccontextmanager
    async def _connected(self, member: Member) -> AsyncIterator[SSHClientConnection]:
        """The member's connection; one that breaks meanwhile is thrown away, and the break told as a `HostError`."""
        import asyncssh

        async with self._turns[member.host]:
            connection = self._connections.get(member.host)
            if connection is None or connection.is_closed():
                connection = await connect(member.host, member.conn_id, self.gang.limits.connect)
                self._connections[member.host] = connection
        try:
            yield connection
        except (TimeoutError, asyncssh.Error, OSError) as e:
            # Not a connection to go on with: the next call opens another.
            connection.abort()
            self._connections.pop(member.host, None)
            raise HostError(f"{member.host}: the connection was lost ({e or type(e).__name__})") from e
        except HostError as e:
            raise HostError(f"{member.host}: {e}") from e

    async def run(self, member: Member, script: str, timeout: float = 60) -> bytes:
        """Run a script on a member's host; `HostError` when the host can't be reached or the script fails."""
        async with self._connected(member) as connection:
            return await bash(connection, script, timeout)

    @asynccontextmanager
    async def talk(self, member: Member, script: str) -> AsyncIterator[Line]:
        """A script that stays on the line: its input takes words, stdout and stderr are what it says."""
        # asyncssh takes half a second to import; a DAG file that names an operator does without.
        from ssh_gang.session import Line

        command, text = commands.interactive_command(script)
        async with self._connected(member) as connection:
            _, line = await connection.create_session(Line, command, encoding=None)
            try:
                line.write(text)
                yield line
            finally:
                line.close()

    async def on_every_host(
        self, do: Callable[[Member], Awaitable[object]], kind: type[Exception] = GangError
    ) -> list[object]:
        """`do` for every member at once; one error with a line for every host that failed."""
        results = await on_all(self.gang.members, do)
        raise_all(results, kind)
        return results

    async def states(self) -> list[JobState]:
        """What every host says now; `HostError` names each that does not answer."""

        async def look(member: Member) -> JobState:
            message = protocol.parse_line(await self.run(member, commands.query_state_command(self.gang)))
            if not isinstance(message, protocol.StateReport):
                raise HostError(f"{member.host}: expected its state, got {message}")
            return message.state

        return await self.on_every_host(look, HostError)  # type: ignore[return-value]

    async def launch(self, prepare: Callable[[Gang], Awaitable[Gang]] | None = None) -> tuple[Decision, Gang]:
        """Start the gang or find the one that runs: the decision, and the gang as it is running now.

        `prepare` has the last word on what is started; it is asked when every process of an earlier try is gone.

        `HostsBusy` when another gang has a host; `GangError` when a host can't arm, or a newer try owns it: nothing was started then.
        """
        states = await self.states()
        decision = decide(states, self.gang)
        if decision in (Decision.RECONNECT, Decision.ALREADY_SUCCEEDED):
            self.gang = self.gang.model_copy(update={"attempt": states[0].attempt})
            return decision, self.gang
        if decision is Decision.TERMINAL_RESUBMIT:
            await self.stop(attempt=None)
        if prepare:
            self.gang = await prepare(self.gang)
        try:
            async with AsyncExitStack() as lines:
                await self._go(await self._arm(lines, [s.attempt for s in states]))
        except BaseException as e:
            # Some may wait, some may run: none of this try does when this is done, whatever ended it.
            try:
                await asyncio.shield(self.stop(self.gang.attempt))
            except GangError as left:
                raise GangError(f"{e}\nand not all could be disarmed: {left}") from e
            raise
        return decision, self.gang

    async def _arm(self, lines: AsyncExitStack, found: Sequence[str]) -> list[Line]:
        """First phase: every host arms, or none starts."""

        async def one(member: Member, replace: str) -> Line:
            line = await lines.enter_async_context(
                self.talk(member, commands.prepare_command(self.gang, member, replace or None))
            )
            try:
                async with asyncio.timeout(self.gang.limits.prepare + 30):
                    answer = (await line.stdout.readline()).decode().strip()
            except TimeoutError:
                raise GangError(
                    f"{member.host}: not armed after {self.gang.limits.prepare + 30:.0f} s (limit prepare)"
                ) from None
            match protocol.parse_line(answer):
                case protocol.Prepared():
                    return line
                case protocol.Busy(marker):
                    raise HostsBusy(f"{member.host}: {marker} runs there")
                case protocol.Claimed(attempt):
                    raise GangError(
                        f"{member.host}: another try claimed {self.gang.folder} a moment ago ({attempt})"
                    )
                case protocol.Refused(reason):
                    raise GangError(f"{member.host}: can't arm: {reason}")
            stderr = (await line.stderr.read()).decode(errors="replace").strip()
            raise GangError(f"{member.host}: can't arm: {answer or stderr or 'no answer'}")

        wanted = sorted(zip(self.gang.members, found, strict=True), key=lambda pair: pair[0].conn_id)
        # The first one alone, and the same for everybody: of two gangs that want the same hosts one gets it, and the other none.
        first = await one(*wanted[0])
        armed = [first, *await on_all(wanted[1:], lambda pair: one(*pair))]
        busy = next((a for a in armed if isinstance(a, HostsBusy)), None)
        if busy:
            raise busy
        raise_all(armed, GangError)
        return armed  # type: ignore[return-value]

    async def _go(self, armed: Sequence[Line]) -> None:
        """Second phase: the word to all, on lines that are open, with nothing in between."""
        for line in armed:
            line.write(protocol.start_signal())

        async def confirmed(line: Line) -> None:
            async with asyncio.timeout(30):
                answer = await line.stdout.readline()
            if not isinstance(protocol.parse_line(answer), protocol.Started):
                raise GangError("a host that had armed did not take the word to go")

        raise_all(await on_all(armed, confirmed), GangError)

    async def wait_until_free(self) -> None:
        """Until no other exclusive gang runs on any host of this one; how long that may take is for the caller to say."""

        async def free(member: Member) -> None:
            async with self.talk(member, commands.wait_until_free_command(self.gang)) as line:
                async for said in line.stdout:
                    if isinstance(protocol.parse_line(said), protocol.Free):
                        return
            raise HostError(f"{member.host}: the line was cut while waiting for it to be free")

        await self.on_every_host(free, HostError)

    async def stop(self, attempt: str | None) -> dict[str, int]:
        """End every process of a try on every host (of whatever try is there, for None); processes left, by host.

        `GangError` when a host can't be reached or a process is left: what is not known to be stopped is not called stopped.
        """
        wait = self.gang.limits.grace + 90

        async def one(member: Member) -> int:
            script = commands.stop_command(self.gang, attempt, member.accelerator)
            match protocol.parse_line(await self.run(member, script, wait)):
                case protocol.Stopped(processes_left):
                    return processes_left
                case protocol.Fenced(newer_attempt):
                    raise GangError(
                        f"{member.host}: {newer_attempt} is newer; this try has been overtaken, and touches nothing"
                    )
                case other:
                    raise HostError(f"{member.host}: expected the number of processes left, got {other}")

        found = await self.on_every_host(one)
        left: dict[str, int] = {m.host: n for m, n in zip(self.gang.members, found, strict=True)}  # type: ignore[misc]
        if any(left.values()):
            raise GangError("processes are left: " + ", ".join(f"{n} on {h}" for h, n in left.items() if n))
        return left

    async def refuse(self) -> None:
        """Say on every host that the gang, though it ended with 0, did not do its work."""
        await self.on_every_host(lambda m: self.run(m, commands.mark_refused_command(self.gang)))

    async def tail(self, member: Member, rank: int | None = None, lines: int = 30) -> str:
        """The last lines of a member's output, or of one rank's."""
        return (await self.run(member, commands.tail_command(self.gang, rank, lines))).decode(
            errors="replace"
        )
