"""The connections of one gang, and what is done over them: look, launch, stop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from sqltune import remote_job
from sqltune.errors import GangError, HostError
from sqltune.gangs import Gang, Member
from sqltune.hooks.hosts import bash, connect, on_all, raise_all
from sqltune.remote_job import JobState
from sqltune.resume import Decision, decide

if TYPE_CHECKING:
    from asyncssh import SSHClientConnection

_AT_ONCE = 8
"""Connections opened at the same time: sshd turns new ones away beyond MaxStartups."""


class GangHook:
    """One connection per host for as long as the gang is watched, opened when first needed and again when it broke."""

    def __init__(self, gang: Gang) -> None:
        self.gang = gang
        self._connections: dict[str, SSHClientConnection] = {}
        self._gate = asyncio.Semaphore(_AT_ONCE)

    async def __aenter__(self) -> GangHook:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections; what runs on the hosts runs on."""
        for connection in self._connections.values():
            connection.close()
        self._connections.clear()

    async def run(self, member: Member, script: str, timeout: float = 60) -> bytes:
        """Run a script on a member's host; `HostError` when the host can't be reached or the script fails."""
        import asyncssh

        connection = self._connections.get(member.host)
        if connection is None or connection.is_closed():
            async with self._gate:
                connection = await connect(member.host, member.conn_id, self.gang.limits.connect)
            self._connections[member.host] = connection
        try:
            return await bash(connection, script, timeout)
        except (TimeoutError, asyncssh.Error, OSError) as e:
            # Not a connection to go on with: the next call opens another.
            connection.abort()
            self._connections.pop(member.host, None)
            raise HostError(f"{member.host}: the connection was lost ({e or type(e).__name__})") from e
        except HostError as e:
            raise HostError(f"{member.host}: {e}") from e

    async def look(self, member: Member, taken: int | None = None) -> tuple[JobState, bytes]:
        """State of a member, and the output that was not delivered yet."""
        return remote_job.parse_look(await self.run(member, remote_job.look(self.gang, taken)))

    async def states(self) -> list[JobState]:
        """What every host says now; `HostError` names each that does not answer."""
        found = await on_all(self.gang.members, self.look)
        raise_all(found)
        return [state for state, _ in found]  # type: ignore[misc]

    async def launch(self) -> tuple[Decision, Gang]:
        """Start the gang or find the one that runs: the decision, and the gang with the attempt that is running now."""
        states = await self.states()
        decision = decide(states, self.gang.generation)
        if decision in (Decision.RECONNECT, Decision.ALREADY_SUCCEEDED):
            self.gang = self.gang.model_copy(update={"attempt": states[0].attempt})
            return decision, self.gang
        if decision is Decision.TERMINAL_RESUBMIT:
            await self.stop(attempt=None)
            raise_all(await on_all(self.gang.members, lambda m: self.run(m, remote_job.put_aside(self.gang))))
        await self._arm()
        raise_all(await on_all(self.gang.members, lambda m: self.run(m, remote_job.go(self.gang))), GangError)
        return decision, self.gang

    async def _arm(self) -> None:
        """First phase: every host arms, or none starts."""
        armed = await on_all(self.gang.members, self._arm_one)
        if any(isinstance(a, Exception) for a in armed):
            try:
                await self.stop(attempt=self.gang.attempt)
            finally:
                await on_all(self.gang.members, lambda m: self.run(m, remote_job.judge(self.gang)))
            raise_all(armed, GangError)

    async def _arm_one(self, member: Member) -> None:
        answer = (await self.run(member, remote_job.arm(self.gang, member), self.gang.limits.arm + 30)).decode().strip()
        word, _, reason = answer.partition(" ")
        if word == "claimed":
            raise GangError(f"{member.host}: another try claimed {self.gang.folder} a moment ago")
        if word != "armed":
            raise GangError(f"{member.host}: can't arm: {reason or answer}")

    async def stop(self, attempt: str | None) -> dict[str, int]:
        """End every process of a try on every host (of whatever try is there, for None); processes left, by host.

        `GangError` when a host can't be reached or a process is left: what is not known to be stopped is not called stopped.
        """
        wait = self.gang.limits.grace + 60
        answers = await on_all(self.gang.members, lambda m: self.run(m, remote_job.stop(self.gang, attempt), wait))
        raise_all(answers, GangError)
        left = {m.host: int(a.split()[-1]) for m, a in zip(self.gang.members, answers, strict=True)}  # type: ignore[union-attr]
        if any(left.values()):
            raise GangError("processes are left: " + ", ".join(f"{n} on {h}" for h, n in left.items() if n))
        return left

    async def judge(self) -> None:
        """Mark the gang as judged on every host, so that a Clear runs it again and a retry does not."""
        raise_all(await on_all(self.gang.members, lambda m: self.run(m, remote_job.judge(self.gang))), GangError)

    async def tail(self, member: Member, lines: int = 30) -> str:
        """The last lines of a member's output."""
        return (await self.run(member, remote_job.tail(self.gang, lines))).decode(errors="replace")


def skew(states: Sequence[JobState]) -> float | None:
    """Seconds between the first and the last start, by the hosts' own clocks; None before all have started."""
    starts = [s.started for s in states]
    return None if any(s is None for s in starts) else max(starts) - min(starts)  # type: ignore[type-var,operator]


def now() -> float:
    """Seconds of a clock that does not jump."""
    return time.monotonic()
