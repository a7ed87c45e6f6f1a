"""Follows one host of a gang: keeps a session open, knows the host's state and clock, forwards its output."""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from typing import TYPE_CHECKING

from ssh_gang import commands, protocol
from ssh_gang.errors import HostError
from ssh_gang.host_clock import HostClock
from ssh_gang.host_output import HostOutput
from ssh_gang.log import LogFilter, TaskLog
from ssh_gang.milestone import Milestone
from ssh_gang.progress import CheckpointFinder

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ssh_gang.gpus import Gpu
    from ssh_gang.hook import GangHook
    from ssh_gang.model import Member
    from ssh_gang.progress import ProgressTracker
    from ssh_gang.ranks import RankReport
    from ssh_gang.record_writer import RecordWriter
    from ssh_gang.session import InteractiveSession
    from ssh_gang.state import JobState

CHUNK = 256 * 1024
"""Bytes of output that are taken at a time."""

ACKNOWLEDGE_PAUSE = 0.1
"""Seconds between two acknowledgements, at least."""

REPEAT_PAUSE = 1.0
"""Seconds after which an acknowledgement that the host has not answered is sent again."""

ALIVE_PAUSE = 30.0
"""Seconds between two signs to the host that it is still followed."""

FIRST_PAUSE = 0.2
"""Seconds before a session that ended is opened again; each further pause is twice as long."""

LONGEST_PAUSE = 5.0
"""Seconds between two sessions, at most."""

QUERY_PAUSE = 5.0
"""Seconds between two queries of a host's state while its output cannot be taken."""

DRAIN = 60.0
"""Seconds without a byte after which the rest of an ended job's output is given up."""

LAST_OUTPUT = 5.0
"""Seconds without a byte after which a host on which everything was stopped has sent all of its output."""

SILENT = 15.0
"""Seconds without a sign after which a host is called silent; it reports its state every five."""

SAMPLE_PAUSE = 5.0
"""Seconds between two samples of a host's GPUs that are recorded, at least; it sends one in fifteen."""

CLOCK_QUESTIONS = 3
"""Number of requests for a host's time at the start of a session; the fastest answer counts."""


class HostWatch:
    """What is known of one host of the gang, and how it becomes known.

    Args:
        hook: The gang's connections.
        member: The gang's part on this host.
        log: The task's log.
        writer: Takes the records.
        progress: The gang's progress.
        changed: Set when something becomes known.
    """

    def __init__(
        self,
        hook: GangHook,
        member: Member,
        log: TaskLog,
        writer: RecordWriter,
        progress: ProgressTracker,
        changed: asyncio.Event,
    ) -> None:
        self.hook, self.gang, self.member = hook, hook.gang, member
        self.log, self.writer, self.progress, self.changed = log, writer, progress, changed
        self.clock = HostClock()
        pattern = self.gang.checkpoint_pattern
        checkpoints = CheckpointFinder(pattern, self._record_checkpoint) if pattern else None
        self.output = HostOutput(log, LogFilter(member.host), progress, self._record_output, checkpoints)
        self.state: JobState | None = None
        self.newer_attempt: str | None = None
        """The attempt that owns the gang's folder by now, where it is not the one that is watched."""
        self.elapsed = 0.0
        """Seconds since the start signal, up to the job's end, by the host's clock."""
        self._reports: dict[int, RankReport] = {}
        self._ranks = self.gang.ranks_of(member.host)
        self._sampled_at = -math.inf
        self._heard_at = self._moved_at = time.monotonic()
        self._is_held_up = False
        self._warned = False
        self._may_acknowledge = asyncio.Event()

    @property
    def silence(self) -> float:
        """Seconds since the host last reported its state."""
        return time.monotonic() - self._heard_at

    @property
    def is_silent(self) -> bool:
        """Whether the host has missed several of its reports."""
        return self.silence > SILENT

    @property
    def status(self) -> str:
        """The host's state as a short text for people."""
        if self.is_silent:
            return "silent"
        return "…" if self.state is None else self.state.outcome

    @property
    def has_succeeded(self) -> bool:
        """Whether the job ended with exit code 0."""
        return self.state is not None and self.state.succeeded

    @property
    def is_output_complete(self) -> bool:
        """Whether all output was received; only a job that has ended has an output size."""
        size = None if self.state is None else self.state.output_size
        return size is not None and self.output.received >= size

    @property
    def is_done(self) -> bool:
        """Whether the job succeeded and no more is expected of the host.

        Its output is forwarded, recorded and acknowledged, and its clock is known. A host that sends
        nothing for a while is done too: its log may have been cut, or it is gone after its job ended.
        """
        if not self.has_succeeded or self._is_held_up:
            return False
        acknowledged = self.output.acknowledged >= self.output.received
        is_idle = time.monotonic() - self._moved_at > DRAIN
        return is_idle or (self.is_output_complete and acknowledged and self.clock.is_known)

    @property
    def has_sent_all(self) -> bool:
        """Whether no more output is expected of a host on which everything was stopped.

        A job that was lost has no output size: its output is at its end when nothing comes for a while.
        """
        if self._is_held_up:
            return False
        is_idle = time.monotonic() - self._moved_at > LAST_OUTPUT
        return self.is_output_complete or self.is_silent or is_idle

    def started_at(self) -> float | None:
        """When the job started, by this machine's clock; None where it is not known."""
        if self.state is None or self.state.started_at is None or not self.clock.is_known:
            return None
        return self.clock.to_local(self.state.started_at)

    def ended_at(self) -> float | None:
        """When the job ended, by this machine's clock; None where it is not known."""
        if self.state is None or self.state.ended_at is None or not self.clock.is_known:
            return None
        return self.clock.to_local(self.state.ended_at)

    def warn_of_silence(self) -> None:
        """Log, once, that a silent host is waited for."""
        if self.is_silent:
            self._warn(f"[{self.member.host}] has not answered for {self.silence:.0f} s")

    def log_summary(self) -> None:
        """Log how much of the output was not shown, not recorded, and did not arrive."""
        self.output.log_summary()
        if self.writer.is_recording and self.output.received > self.gang.max_log_bytes:
            self.log.info(
                "[%s] of %.0f MB of its output, the first %.0f MB are recorded",
                self.member.host,
                self.output.received / 1e6,
                self.gang.max_log_bytes / 1e6,
            )
        size = None if self.state is None else self.state.output_size
        if size is not None and self.output.received < size:
            self.log.warning(
                "[%s] %d of %d bytes of its output did not arrive; they are in %s/output there",
                self.member.host,
                size - self.output.received,
                size,
                self.gang.folder,
            )

    async def follow(self) -> None:
        """Keep a session to the host open, until cancelled."""
        pause = FIRST_PAUSE
        while True:
            heard_at = self._heard_at
            try:
                if self.writer.is_full:
                    await self._query_state_until_there_is_room()
                async with self.hook.interact(self.member, self._follow_command()) as session:
                    await self._listen(session)
            except (HostError, ValueError) as e:
                self._warn(str(e))
            pause = FIRST_PAUSE if self._heard_at > heard_at else min(2 * pause, LONGEST_PAUSE)
            await asyncio.sleep(pause)

    def _follow_command(self) -> str:
        return commands.follow_command(self.gang, self.member)

    def _warn(self, trouble: str) -> None:
        if not self._warned:
            self._warned = True
            limit = self.gang.limits.unreachable
            self.log.warning(
                "%s; its ranks go on, and it is tried again for %.0f s (limit unreachable)", trouble, limit
            )

    async def _query_state_until_there_is_room(self) -> None:
        """Leave the output on the host while the record queue is full, and still know the host's state.

        One SSH channel carries both, so a session whose output is not read would not deliver states either.
        """
        self._is_held_up = True
        try:
            while not self.writer.has_room:
                answer = await self.hook.run(self.member, commands.query_state_command(self.gang))
                match protocol.parse_line(answer):
                    case protocol.StateReport(state, host_time):
                        self._take_state(state, host_time)
                self.progress.restart_clock()
                await asyncio.sleep(QUERY_PAUSE if self.writer.is_full else ACKNOWLEDGE_PAUSE)
        finally:
            self._is_held_up = False
            self._moved_at = time.monotonic()

    async def _listen(self, session: InteractiveSession) -> None:
        """Handle what a session brings, until it ends."""
        positioned = asyncio.Event()
        tasks = [
            asyncio.create_task(self._read_output(session, positioned)),
            asyncio.create_task(self._acknowledge(session, positioned)),
        ]
        for task in tasks:
            # When one half of the session ends, for whatever reason, the whole of it is opened again.
            task.add_done_callback(lambda _: session.close())
        try:
            await self._read_messages(session, positioned)
        finally:
            for task in tasks:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
        _raise_unexpected(results)

    async def _read_messages(self, session: InteractiveSession, positioned: asyncio.Event) -> None:
        asked_at: list[float] = []
        async for line in session.stderr:
            match protocol.parse_line(line):
                case protocol.OutputStart(offset):
                    self.output.restart(offset)
                    positioned.set()
                    asked_at = self._ask_for_time(session)
                case protocol.Acknowledged(offset):
                    self.output.acknowledged = offset
                    self.changed.set()
                case protocol.Clock(host_time) if asked_at:
                    self.clock.compare(asked_at.pop(0), host_time, time.time())
                    if not asked_at:
                        self.changed.set()
                case protocol.GpuSamples(samples):
                    self._record_gpus(samples)
                case protocol.RankReports(reports):
                    self._record_ranks(reports)
                case protocol.StateReport(state, host_time):
                    self._take_state(state, host_time)
                    if self.is_output_complete:
                        # The log's last line may have no end, and may have arrived before the state did.
                        self.output.take(b"", final=True)

    @staticmethod
    def _ask_for_time(session: InteractiveSession) -> list[float]:
        """Request the host's time several times; return when each request was sent."""
        asked_at = []
        for _ in range(CLOCK_QUESTIONS):
            asked_at.append(time.time())
            session.write(protocol.request_time())
        return asked_at

    def _take_state(self, state: JobState, host_time: float | None) -> None:
        self._heard_at = time.monotonic()
        if self._warned:
            self._warned = False
            self.log.info("[%s] answers again", self.member.host)
        if state.presence == "present" and state.attempt != self.gang.attempt:
            self.newer_attempt = state.attempt
            self.changed.set()
            return
        now = state.ended_at or host_time
        if state.started_at and now:
            self.elapsed = now - state.started_at
        if state != self.state:
            self.state, self._moved_at = state, self._heard_at
            self.changed.set()

    async def _read_output(self, session: InteractiveSession, positioned: asyncio.Event) -> None:
        """Take output until the session ends, or until what waits to be recorded is too much."""
        await positioned.wait()
        while data := await session.stdout.read(CHUNK):
            self._moved_at = time.monotonic()
            self.output.take(data)
            if self.is_output_complete:
                self.output.take(b"", final=True)
                self.changed.set()
            if self.writer.is_full:
                return

    async def _acknowledge(self, session: InteractiveSession, positioned: asyncio.Event) -> None:
        """Acknowledge what was forwarded and recorded, and show the host that it is still followed."""
        await positioned.wait()
        while True:
            self._may_acknowledge.clear()
            # Repeated until it is answered: the job's end waits for the last acknowledgement.
            if self.output.must_acknowledge:
                session.write(protocol.acknowledge(self.output.recorded))
            else:
                session.write(protocol.still_watching())
            # At once, then not too often: what is not acknowledged, a watcher that takes over logs again.
            await asyncio.sleep(ACKNOWLEDGE_PAUSE)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(REPEAT_PAUSE if self.output.must_acknowledge else ALIVE_PAUSE):
                    await self._may_acknowledge.wait()

    def _record_output(self, offset: int, data: bytes) -> None:
        self.writer.put_output(self.gang.attempt, self.member.host, offset, data, self._note_recorded)

    def _record_checkpoint(self, step: int) -> None:
        attempt = self.gang.attempt
        milestone = Milestone(kind="checkpoint", at=time.time(), host=self.member.host, number=step)
        self.writer.put(lambda recorder: recorder.milestone(attempt, milestone))

    def _note_recorded(self, end: int) -> None:
        self._moved_at = time.monotonic()
        self.output.note_recorded(end)
        self._may_acknowledge.set()

    def _record_gpus(self, samples: Sequence[Gpu]) -> None:
        attempt, at, host = self.gang.attempt, time.time(), self.member.host
        # A host that prints nothing would fill the memory with its samples: these and reports of ranks are
        # given up.
        is_due = time.monotonic() - self._sampled_at >= SAMPLE_PAUSE
        if samples and is_due and not self.writer.is_full:
            self._sampled_at = time.monotonic()
            self.writer.put(lambda recorder: recorder.gpu_samples(attempt, at, host, samples))

    def _record_ranks(self, reports: Iterable[RankReport]) -> None:
        """Record what is new of this host's ranks: the host repeats the others, so that none is lost."""
        attempt, host = self.gang.attempt, self.member.host
        own = [report for report in reports if report.rank in self._ranks]
        new = [report for report in own if self._reports.get(report.rank) != report]
        if not new or not self.clock.is_known or self.writer.is_full:
            return
        self._reports |= {report.rank: report for report in new}
        local = [report.model_copy(update={"at": self.clock.to_local(report.at)}) for report in new]
        self.writer.put(lambda recorder: recorder.rank_reports(attempt, host, local))


def _raise_unexpected(results: Iterable[object]) -> None:
    """Raise what is neither a broken connection nor a cancellation."""
    for result in results:
        if isinstance(result, Exception) and not isinstance(result, (OSError, asyncio.TimeoutError)):
            raise result
