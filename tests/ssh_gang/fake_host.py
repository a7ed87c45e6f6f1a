"""Hosts of a gang that a test plays: what `follow.sh` sends and hears, without SSH, processes or files."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import asyncssh

from ssh_gang import commands
from ssh_gang.errors import HostError
from ssh_gang.model import Gang, Limits, Member
from ssh_gang.session import InteractiveSession
from ssh_gang.ssh import lost
from ssh_gang.state import JobState

PATTERN = r"step (?P<step>\d+)/(?P<total>\d+)"


def gang(hosts: str = "ab", limits: Limits | None = None, ranks: int = 0, **more: Any) -> Gang:
    """A gang with a member on each host; hosts have names of one letter."""
    members = [Member(host=h, conn_id=h, argv=["true"], cwd="/work", ranks=ranks) for h in hosts]
    return Gang(
        name="dag.task.run",
        attempt="try1",
        root="/gangs",
        members=members,
        limits=limits or Limits(),
        **more,
    )


class FakeHost:
    """A host on which a job was started: the test makes it print, end, break off or fall silent."""

    def __init__(self, ranks: int = 0) -> None:
        self.clock_ahead = 0.0
        """Seconds that its clock is ahead of this machine's."""
        self.state = JobState(
            presence="present",
            attempt="try1",
            alive=True,
            started_at=time.time(),
            ranks_started=ranks,
        )
        self.output = b""
        self.acknowledged = 0
        self.is_reachable = True
        self.answers = True
        """Whether it sends anything at all."""
        self.acknowledges = True
        """Whether it answers `acknowledge`."""
        self.requests: list[bytes] = []
        """What it has heard, without the line ends."""
        self.offsets: list[int] = []
        """Where the output of each session began."""
        self.queries = 0
        """How often its state was queried without a session."""
        self.space = "space=100000 /work\n"
        self._sessions: dict[InteractiveSession, _Channel] = {}

    @property
    def is_followed(self) -> bool:
        """Whether a session is open."""
        return bool(self._sessions)

    @property
    def now(self) -> float:
        """The time by its own clock."""
        return time.time() + self.clock_ahead

    def follow(self) -> InteractiveSession:
        """Open a session, as `follow.sh` does: the output from the acknowledged byte on, and the state."""
        session = InteractiveSession()
        channel = _Channel(self, session)
        session.connection_made(channel)
        self._sessions[session] = channel
        self.offsets.append(self.acknowledged)
        self._send(f"from={self.acknowledged}", session)
        if self.answers:
            session.data_received(self.output[self.acknowledged :], None)
        self.report()
        return session

    def print(self, text: str) -> None:
        """Add to the output; a job that has ended prints what was in its pipe."""
        data = text.encode()
        self.output += data
        for session in self._sessions if self.answers else ():
            session.data_received(data, None)

    def report(self, **changes: Any) -> None:
        """Report the state, after changes to it."""
        self.state = replace(self.state, **changes)
        self._send(self.state_line())

    def end(self, exit_status: int | str = 0, ended_at: float | None = None) -> None:
        """End the job, at a time of its own clock, and report it."""
        ended = self.now if ended_at is None else ended_at
        self.report(alive=False, exit_status=str(exit_status), ended_at=ended, output_size=len(self.output))

    def break_off(self, error: Exception | None = None) -> None:
        """Break the connection."""
        for session in list(self._sessions):
            session.connection_lost(error or asyncssh.ConnectionLost("Connection lost"))
            self._close(session)

    def hang_up(self) -> None:
        """End the session, as when `tail` or the script ended on the host."""
        for session in list(self._sessions):
            session.connection_lost(None)
            self._close(session)

    def send(self, line: str) -> None:
        """Send a line on stderr."""
        self._send(line)

    def hear(self, request: bytes) -> None:
        """Answer a request of the watcher."""
        for line in request.splitlines():
            self.requests.append(line)
            if line == b"time":
                self._send(f"clock={self.now}")
            elif line.startswith(b"acknowledge ") and self.acknowledges:
                self.acknowledged = int(line.split()[1])
                self._send(f"acknowledged={self.acknowledged}")

    def state_line(self) -> str:
        """The state as a line of the protocol."""
        s = self.state
        if s.presence == "absent":
            return "state=absent"
        fields = {
            "attempt": s.attempt,
            "fencing_token": s.fencing_token,
            "generation": s.generation,
            "spec_hash": s.spec_hash,
            "alive": "yes" if s.alive else "no",
            "boot": "other" if s.rebooted else "same",
            "started": s.started_at or "",
            "ranks": s.ranks_started,
            "exit": s.exit_status,
            "ended": s.ended_at or "",
            "size": "" if s.output_size is None else s.output_size,
            "now": self.now,
        }
        return "state=present " + " ".join(f"{name}={value}" for name, value in fields.items())

    def _send(self, line: str, *sessions: InteractiveSession) -> None:
        for session in sessions or tuple(self._sessions):
            if self.answers:
                session.data_received(f"{line}\n".encode(), asyncssh.EXTENDED_DATA_STDERR)

    def _close(self, session: InteractiveSession) -> None:
        self._sessions.pop(session, None)


class _Channel:
    """The watcher's end of a session."""

    def __init__(self, host: FakeHost, session: InteractiveSession) -> None:
        self._host, self._session = host, session
        self._is_open = True

    def write(self, data: bytes) -> None:
        if self._session not in self._host._sessions:
            raise BrokenPipeError("Channel not open for sending")
        self._host.hear(data)

    def close(self) -> None:
        if self._session in self._host._sessions:
            self._host._close(self._session)
            self._session.connection_lost(None)

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


class FakeHook:
    """The gang's connections to hosts that the test plays; the methods of `GangHook` that a watch calls."""

    def __init__(self, gang: Gang) -> None:
        self.gang = gang
        self.hosts = {member.host: FakeHost(member.ranks) for member in gang.members}
        self.stopped: list[str | None] = []
        """Attempts that were stopped."""
        self.stop_error: Exception | None = None

    @asynccontextmanager
    async def interact(self, member: Member, script: str) -> AsyncIterator[InteractiveSession]:
        host = self._reachable(member)
        assert script == commands.follow_command(self.gang, member)
        session = host.follow()
        try:
            yield session
        except (asyncssh.Error, OSError) as e:
            raise lost(member.host, e) from e
        finally:
            session.close()

    async def run(self, member: Member, script: str, limit: float = 60) -> bytes:
        host = self._reachable(member)
        if script == commands.query_state_command(self.gang):
            host.queries += 1
            return host.state_line().encode()
        assert script == commands.free_space_command(self.gang, member)
        return host.space.encode()

    async def tail(self, member: Member, rank: int | None = None, lines: int = 30) -> str:
        text = self._reachable(member).output.decode()
        if rank is None:
            return "\n".join(text.splitlines()[-lines:])
        sign = f"[rank {rank}]:"
        found = [line.removeprefix(sign) for line in text.splitlines() if line.startswith(sign)]
        return "\n".join(found[-lines:])

    async def stop(self, attempt: str | None) -> dict[str, int]:
        self.stopped.append(attempt)
        if self.stop_error:
            raise self.stop_error
        for host in self.hosts.values():
            if host.state.is_running:
                host.end("stopped")
        return dict.fromkeys(self.hosts, 0)

    def _reachable(self, member: Member) -> FakeHost:
        host = self.hosts[member.host]
        if not host.is_reachable:
            raise HostError(f"{member.host}: does not answer")
        return host
