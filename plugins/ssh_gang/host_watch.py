"""Following one host of a gang: its line kept open, its state and clock known, its output told and confirmed."""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from ssh_gang import commands, protocol
from ssh_gang.errors import HostError
from ssh_gang.gpus import Gpu
from ssh_gang.hook import GangHook
from ssh_gang.log import Lines, Teller
from ssh_gang.model import Member
from ssh_gang.progress import Progress, parse_progress
from ssh_gang.recorder import GangRecorder, RecorderUnavailable
from ssh_gang.state import JobState

if TYPE_CHECKING:
    from ssh_gang.session import Line

CHUNK = 256 * 1024
"""Bytes of output taken at a time."""

CONFIRM = 0.1
"""Seconds between two confirmations of delivered output, at least."""

DRAIN = 60.0
"""Seconds that the rest of an ended job's output is waited for without a byte of it coming."""

SILENT = 15.0
"""Seconds without a sign after which a host is said to be silent; it tells its state every five."""


class Keeper:
    """The run's record, written off the loop. One that can't be written (disk full here) ends no training: said once, and gone on without."""

    def __init__(self, recorder: GangRecorder | None, log: Any) -> None:
        self.recorder, self.log = recorder, log
        self._failed = False

    async def keep(self, write: Callable[[GangRecorder], None]) -> None:
        """Write to the recorder, where there is one."""
        if self.recorder is None:
            return
        try:
            await asyncio.to_thread(write, self.recorder)
        except (OSError, RecorderUnavailable) as e:
            if not self._failed:
                self._failed = True
                self.log.warning("the run's record can't be written (%s): the training goes on without it", e)


class HostWatch:
    """What is known of one host of the gang, and how it is learnt.

    :param hook: the gang's connections.
    :param member: the gang's part on this host.
    :param log: where its output goes.
    :param keeper: the run's record.
    :param changed: set when something is known that was not before.
    :param progress: where the training stood when an earlier watcher stopped.
    """

    def __init__(
        self,
        hook: GangHook,
        member: Member,
        log: Any,
        keeper: Keeper,
        changed: asyncio.Event,
        progress: Progress | None,
    ) -> None:
        self.hook, self.gang, self.member, self.log, self.keeper, self.changed = (
            hook,
            hook.gang,
            member,
            log,
            keeper,
            changed,
        )
        self.pattern = re.compile(self.gang.progress_pattern) if self.gang.progress_pattern else None
        self.teller = Teller(member.host)
        self.lines = Lines()
        self.state: JobState | None = None
        self.position = 0
        """Byte of output up to which it was received."""
        self.told = 0
        """Byte of output up to which whole lines are in the task's log."""
        self.confirmed = 0
        """Byte of output up to which the host knows that it was told: who takes over goes on there."""
        self.heard = self.received = self.progressed = time.monotonic()
        """When its state, its output (or another state), and another step were last told."""
        self.progress = progress
        self.clock = 0.0
        """Seconds the host's clock is ahead of ours, known to ± clock_error."""
        self.clock_error = float("inf")
        self.elapsed = 0.0
        """Seconds since the host was told to go, by its own clock, when its state was last said."""
        self.warned = False
        self._more = asyncio.Event()

    @property
    def read_whole(self) -> bool:
        """All of the output was received; only what has ended has a size."""
        return (
            self.state is not None
            and self.state.output_size is not None
            and self.position >= self.state.output_size
        )

    @property
    def is_done(self) -> bool:
        """Ended well, all of its output is in the task's log for good, and its clock is known."""
        return (
            self.read_whole
            and self.state is not None
            and self.state.succeeded
            and self.confirmed >= self.position
            and self.has_clock
        )

    @property
    def is_drained(self) -> bool:
        """Ended well, and its output does not come: cut by somebody on the host, perhaps. That is no reason to wait for ever."""
        return self.state is not None and self.state.succeeded and time.monotonic() - self.received > DRAIN

    @property
    def silence(self) -> float:
        return time.monotonic() - self.heard

    @property
    def log_name(self) -> str:
        """How its whole log is called in the run's record."""
        return f"{self.gang.name}.{self.gang.attempt}.{self.member.host}"

    @property
    def has_clock(self) -> bool:
        """Whether its clock was compared with ours; a job that ends at once may have ended before."""
        return self.clock_error < float("inf")

    def ours(self, moment: float | None) -> float | None:
        """A moment of the host's clock by our own."""
        return None if moment is None else moment - self.clock

    async def follow(self) -> None:
        """Keep a line to the host open for as long as the watch lasts."""
        pause = 0.2
        while True:
            heard = self.heard
            try:
                async with self.hook.talk(
                    self.member, commands.follow_command(self.gang, self.member)
                ) as line:
                    await self._listen(line)
            except (HostError, ValueError) as e:
                if not self.warned:
                    self.log.warning(
                        "%s; its ranks go on, trying again for %.0f s", e, self.gang.limits.unreachable
                    )
                    self.warned = True
            pause = 0.2 if self.heard > heard else min(2 * pause, 5.0)
            await asyncio.sleep(pause)

    async def _listen(self, line: Line) -> None:
        """Until the line ends."""
        positioned = asyncio.Event()
        beside = [
            asyncio.create_task(self._read_output(line, positioned)),
            asyncio.create_task(self._confirm(line, positioned)),
        ]
        for task in beside:
            # One that ends, by a mistake or because its half of the line did, ends the line: it is opened again, and nothing is silent.
            task.add_done_callback(lambda _: line.close())
        try:
            asked: list[float] = []
            async for raw in line.stderr:
                match protocol.parse_line(raw):
                    case protocol.OutputStart(offset):
                        self.position = self.confirmed = offset
                        self.lines = Lines()
                        positioned.set()
                        asked = self._ask_time(line)
                    case protocol.Acknowledged(offset):
                        self.confirmed = offset
                        self.changed.set()
                    case protocol.Clock(host_time):
                        self._compare_clock(asked.pop(0), host_time)
                        if not asked:
                            self.changed.set()
                    case protocol.GpuSamples(cards):
                        await self._remember_gpus(cards)
                    case protocol.StateReport(state, host_time):
                        self._take_state(state, host_time)
                        if self.read_whole:
                            # The log's last line may have no end, and may have come before the job's.
                            await self._tell(self.lines.feed(b"", final=True))
                            self.told = self.position
                            self._more.set()
        finally:
            for task in beside:
                task.cancel()
            ended = await asyncio.gather(*beside, return_exceptions=True)
        for error in ended:
            if isinstance(error, Exception) and not isinstance(error, (OSError, asyncio.TimeoutError)):
                raise error

    @staticmethod
    def _ask_time(line: Line) -> list[float]:
        """Ask for the time three times; when it was asked."""
        asked = []
        for _ in range(3):
            asked.append(time.time())
            line.write(protocol.request_time())
        return asked

    def _compare_clock(self, asked: float, theirs: float) -> None:
        """The answer with the shortest way there and back says it best."""
        now = time.time()
        error = (now - asked) / 2
        if error < self.clock_error:
            self.clock, self.clock_error = theirs - (asked + now) / 2, error

    def _take_state(self, state: JobState, now: float | None) -> None:
        self.heard = time.monotonic()
        if self.warned:
            self.warned = False
            self.log.info("[%s] answers again", self.member.host)
        if state.started_at and now:
            self.elapsed = now - state.started_at
        if state != self.state:
            self.state, self.received = state, self.heard
            self.changed.set()

    async def _read_output(self, line: Line, positioned: asyncio.Event) -> None:
        await positioned.wait()
        while data := await line.stdout.read(CHUNK):
            position = self.position
            await self.keeper.keep(
                lambda to, at=position, data=data: to.output(self.gang.attempt, self.member.host, at, data)
            )
            # What was told, but not confirmed when the line was cut, comes again: not to the task's log.
            again = min(max(self.told - self.position, 0), len(data))
            self.position += len(data)
            self.received = time.monotonic()
            await self._tell(self.lines.feed(data[again:], final=self.read_whole))
            self.told = max(self.told, self.position - self.lines.held)
            self._more.set()
            if self.read_whole:
                self.changed.set()

    async def _confirm(self, line: Line, positioned: asyncio.Event) -> None:
        """Say on the host what was delivered, and that somebody is there."""
        await positioned.wait()
        while True:
            self._more.clear()
            # Said until it is answered: it is the job's end that waits for the last one.
            if self.told > self.confirmed:
                line.write(protocol.acknowledge(self.told))
            else:
                line.write(protocol.still_watching())
            # At once, then not too often: what is told and not confirmed would be told again by who takes over.
            await asyncio.sleep(CONFIRM)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1 if self.told > self.confirmed else 30):
                    await self._more.wait()

    async def _tell(self, lines: list[str]) -> None:
        """Lines to the task's log; what they say of progress to the record."""
        steps = {}
        if self.pattern:
            steps = {
                at: found for at, text in enumerate(lines) if (found := parse_progress(self.pattern, text))
            }
        for entry in self.teller.tell(lines, steps):
            self.log.info("%s", entry)
        for progress in steps.values():
            if self.progress is None or progress.step > self.progress.step:
                self.progress, self.progressed = progress.after(self.progress), time.monotonic()
                await self.keeper.keep(
                    lambda to, step=self.progress: to.progress(self.gang.attempt, time.time(), step)
                )

    async def _remember_gpus(self, cards: Sequence[Gpu]) -> None:
        if cards:
            await self.keeper.keep(
                lambda to: to.gpu_samples(self.gang.attempt, time.time(), self.member.host, cards)
            )
