"""Watching a gang: one line per host that stays open, everything that is known of each host, and when it has to end."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from sqltune import gpus, remote_job
from sqltune.errors import HostError, SqltuneError
from sqltune.gang_log import Lines, RankFailure, Teller, rank_failure
from sqltune.gangs import Member
from sqltune.hooks.gang import GangHook
from sqltune.progress import Progress, parse_line
from sqltune.records import Record
from sqltune.remote_job import JobState

if TYPE_CHECKING:
    from sqltune.hooks.line import Line

CHUNK = 256 * 1024
"""Bytes of output taken at a time."""

CONFIRM = 0.1
"""Seconds between two confirmations of delivered output, at least."""

DRAIN = 60.0
"""Seconds that the rest of an ended job's output is waited for without a byte of it coming."""

FULL = 64
"""MiB of free disk below which a failure is said to be the disk's."""

SILENT = 15.0
"""Seconds without a sign after which a host is said to be silent; it tells its state every five."""


@dataclass
class HostWatch:
    """What is known of one host of the gang."""

    member: Member
    teller: Teller
    state: JobState | None = None
    lines: Lines = field(default_factory=Lines)
    position: int = 0
    """Byte of output up to which it was received."""
    told: int = 0
    """Byte of output up to which whole lines are in the task's log."""
    confirmed: int = 0
    """Byte of output up to which the host knows that it was told: who takes over goes on there."""
    more: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when more was told."""
    heard: float = field(default_factory=time.monotonic)
    received: float = field(default_factory=time.monotonic)
    """When its output, or another state, last came."""
    clock: float = 0.0
    """Seconds the host's clock is ahead of ours, known to ± clock_error."""
    clock_error: float = float("inf")
    elapsed: float = 0.0
    """Seconds since the host was told to go, by its own clock, when its state was last said."""
    warned: bool = False

    @property
    def read_whole(self) -> bool:
        """All of the output was received; only what has ended has a size."""
        return self.state is not None and self.state.size is not None and self.position >= self.state.size

    @property
    def is_done(self) -> bool:
        """Ended well, and all of its output is in the task's log for good."""
        return self.read_whole and self.state is not None and self.state.succeeded and self.confirmed >= self.position

    @property
    def is_drained(self) -> bool:
        """Ended well, and its output does not come: cut by somebody on the host, perhaps. That is no reason to wait for ever."""
        return self.state is not None and self.state.succeeded and time.monotonic() - self.received > DRAIN

    @property
    def silence(self) -> float:
        return time.monotonic() - self.heard

    def ours(self, moment: float | None) -> float | None:
        """A moment of the host's clock by our own."""
        return None if moment is None else moment - self.clock


class Watch:
    """Watches a gang until all have ended well or there is a reason to end it; stops what is left, and says whose fault it was.

    :param hook: its connections.
    :param log: where its output goes; a watcher that takes over goes on where the last one stopped.
    :param record: the run's record: the whole log, progress and GPU samples are kept there.
    """

    def __init__(self, hook: GangHook, log: Any, record: Record | None) -> None:
        self.hook, self.gang, self.log, self.record = hook, hook.gang, log, record
        self.limits = hook.gang.limits
        self.hosts = {m.host: HostWatch(m, Teller(m.host)) for m in hook.gang.members}
        self.progressed = time.monotonic()
        self._changed = asyncio.Event()
        self._said_hosts: dict[str, str] = {}
        # A watcher that takes over does not get the lines again that were delivered: what they said is in the record.
        last = (record.last("progress") if record and self.gang.progress else None) or {}
        self.progress = Progress.model_validate(last["progress"]) if last.get("attempt") == self.gang.attempt else None
        self._all_started = self._record_failed = False

    async def until_the_end(self) -> dict[str, Any]:
        """The event's payload: `ok`, `reason`, `failed` (host), `rank`, `tail`, `first_errors`, `attempt`, `skew` and `skew_error` in seconds, `progress`."""
        followers = [asyncio.create_task(self._follow(host)) for host in self.hosts.values()]
        try:
            while True:
                # Not wait_for: in Python 3.11 that may swallow a cancellation that comes together with the event.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(1.0):
                        await self._changed.wait()
                self._changed.clear()
                for follower in followers:
                    if follower.done():
                        # A follower ends by a mistake of ours alone.
                        follower.result()
                await self._remember_hosts()
                self._notice_starts()
                reason = self._trouble()
                if reason:
                    return await self._give_up(reason)
                if all(h.is_done or h.is_drained for h in self.hosts.values()):
                    self._fold()
                    return self._event(ok=True, reason="every rank ended with exit code 0")
        finally:
            for follower in followers:
                follower.cancel()
            await asyncio.gather(*followers, return_exceptions=True)

    # One host

    async def _follow(self, host: HostWatch) -> None:
        """Keep a line to a host open for as long as the watch lasts."""
        pause = 0.2
        while True:
            heard = host.heard
            try:
                async with self.hook.talk(host.member, remote_job.follow(self.gang, host.member)) as line:
                    await self._listen(host, line)
            except (HostError, ValueError) as e:
                if not host.warned:
                    self.log.warning("%s; its ranks go on, trying again for %.0f s", e, self.limits.unreachable)
                    host.warned = True
            pause = 0.2 if host.heard > heard else min(2 * pause, 5.0)
            await asyncio.sleep(pause)

    async def _listen(self, host: HostWatch, line: Line) -> None:
        """Until the line ends."""
        positioned = asyncio.Event()
        beside = [asyncio.create_task(self._read_output(host, line, positioned)), asyncio.create_task(self._confirm(host, line, positioned))]
        for task in beside:
            # One that ends, by a mistake or because its half of the line did, ends the line: it is opened again, and nothing is silent.
            task.add_done_callback(lambda _: line.close())
        try:
            asked: list[float] = []
            async for raw in line.stderr:
                text = raw.decode(errors="replace").strip()
                if text.startswith("from="):
                    host.position = host.confirmed = int(text[5:])
                    host.lines = Lines()
                    positioned.set()
                    asked = self._ask_time(line)
                elif text.startswith("taken="):
                    host.confirmed = int(text[6:])
                    self._changed.set()
                elif text.startswith("clock="):
                    self._compare_clock(host, asked.pop(0), float(text[6:]))
                    if not asked:
                        self._changed.set()
                elif text.startswith("gpu "):
                    await self._remember_gpus(host, text[4:])
                elif text.startswith("state="):
                    self._take_state(host, text)
                    if host.read_whole:
                        # The log's last line may have no end, and may have come before the job's.
                        await self._tell(host, host.lines.feed(b"", final=True))
                        host.told = host.position
                        host.more.set()
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
            line.write(b"time\n")
        return asked

    @staticmethod
    def _compare_clock(host: HostWatch, asked: float, theirs: float) -> None:
        """The answer with the shortest way there and back says it best."""
        now = time.time()
        error = (now - asked) / 2
        if error < host.clock_error:
            host.clock, host.clock_error = theirs - (asked + now) / 2, error

    def _take_state(self, host: HostWatch, text: str) -> None:
        state, now = remote_job.parse_state(text)
        host.heard = time.monotonic()
        if host.warned:
            host.warned = False
            self.log.info("[%s] answers again", host.member.host)
        if state.started and now:
            host.elapsed = now - state.started
        if state != host.state:
            host.state, host.received = state, host.heard
            self._changed.set()

    async def _read_output(self, host: HostWatch, line: Line, positioned: asyncio.Event) -> None:
        await positioned.wait()
        while data := await line.stdout.read(CHUNK):
            await self._keep("write_log", self.log_name(host.member.host), host.position, data)
            # What was told, but not confirmed when the line was cut, comes again: not to the task's log.
            again = min(max(host.told - host.position, 0), len(data))
            host.position += len(data)
            host.received = time.monotonic()
            await self._tell(host, host.lines.feed(data[again:], final=host.read_whole))
            host.told = max(host.told, host.position - host.lines.held)
            host.more.set()
            if host.read_whole:
                self._changed.set()

    def log_name(self, host: str) -> str:
        """How the whole log of one host's part is called in the run's record."""
        return f"{self.gang.name}.{self.gang.attempt}.{host}"

    async def _confirm(self, host: HostWatch, line: Line, positioned: asyncio.Event) -> None:
        """Say on the host what was delivered, and that somebody is there."""
        await positioned.wait()
        while True:
            host.more.clear()
            # Said until it is answered: it is the job's end that waits for the last one.
            if host.told > host.confirmed:
                line.write(b"taken %d\n" % host.told)
            else:
                line.write(b"alive\n")
            # At once, then not too often: what is told and not confirmed would be told again by who takes over.
            await asyncio.sleep(CONFIRM)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1 if host.told > host.confirmed else 30):
                    await host.more.wait()

    async def _tell(self, host: HostWatch, lines: list[str]) -> None:
        """Lines to the task's log; what they say of progress to the record."""
        steps = {}
        if self.gang.progress:
            steps = {at: progress for at, text in enumerate(lines) if (progress := parse_line(text))}
        for entry in host.teller.tell(lines, steps):
            self.log.info("%s", entry)
        for progress in steps.values():
            if self.progress is None or progress.step > self.progress.step:
                self.progress, self.progressed = progress, time.monotonic()
                await self._keep("append", "progress", {"attempt": self.gang.attempt, "at": time.time(), "progress": progress.model_dump()})

    async def _remember_gpus(self, host: HostWatch, text: str) -> None:
        cards = gpus.parse(text.replace("|", "\n"))
        if cards:
            await self._keep("append", "gpus", {"attempt": self.gang.attempt, "at": time.time(), "host": host.member.host, "gpus": [c.model_dump() for c in cards]})

    async def _keep(self, method: Literal["append", "put", "write_log"], *what: Any) -> None:
        """Write to the run's record, off the loop. A record that can't be written (disk full here) ends no training: said once, and gone on without."""
        if self.record is None:
            return
        try:
            await asyncio.to_thread(getattr(self.record, method), *what)
        except OSError as e:
            if not self._record_failed:
                self._record_failed = True
                self.log.warning("the run's record can't be written (%s): the training goes on without it; free space under %s", e, self.record.folder)

    # The gang

    async def _remember_hosts(self) -> None:
        """Each host's state, for who looks at the run; written when it changed."""
        said = {h: "silent" if w.silence > SILENT else "…" if w.state is None else w.state.how_it_ended for h, w in self.hosts.items()}
        for name, host in self.hosts.items():
            if said[name] == "silent" and not host.warned:
                host.warned = True
                self.log.warning("[%s] has not answered for %.0f s; its ranks go on (limit unreachable: %.0f s)", name, host.silence, self.limits.unreachable)
        if said != self._said_hosts:
            self._said_hosts = said
            if self.gang.progress:
                await self._keep("put", "hosts", said)

    def _notice_starts(self) -> None:
        """Once: that all have started, how far apart, and that torchrun has started every rank."""
        if self._all_started or not all(h.state and h.state.started and h.state.ranks >= h.member.ranks for h in self.hosts.values()):
            return
        if any(h.clock_error == float("inf") for h in self.hosts.values()):
            return
        self._all_started = True
        skew, error = self.skew()
        longest = max(h.elapsed for h in self.hosts.values())
        self.log.info("every rank has started, %.1f s after the word; hosts %.1f ms apart (± %.1f ms)", longest, 1000 * (skew or 0), 1000 * error)

    def skew(self) -> tuple[float | None, float]:
        """Seconds between the first and the last host's start, their clocks compared with ours; and how far off that may be."""
        starts = [h.ours(h.state.started) if h.state and h.clock_error < float("inf") else None for h in self.hosts.values()]
        known = [s for s in starts if s is not None]
        if len(known) < len(starts):
            return None, float("inf")
        return max(known) - min(known), sum(sorted(h.clock_error for h in self.hosts.values())[-2:])

    def _trouble(self) -> str | None:
        """Why the gang has to be ended now."""
        failed = [f"{name}: {h.state.how_it_ended}" for name, h in self.hosts.items() if h.state and h.state.has_failed]
        if failed:
            return "; ".join(failed)
        for name, host in self.hosts.items():
            if host.silence > self.limits.unreachable:
                return f"{name}: not reachable for {self.limits.unreachable:.0f} s (limit unreachable)"
        elapsed = max(h.elapsed for h in self.hosts.values())
        if elapsed > self.limits.total:
            return f"not done after {self.limits.total:.0f} s (limit total)"
        late = [f"{name} {h.state.ranks} of {h.member.ranks}" for name, h in self.hosts.items() if h.state and h.state.is_running and h.state.ranks < h.member.ranks]
        if late and elapsed > self.limits.rendezvous:
            return f"after {self.limits.rendezvous:.0f} s not every rank has started: {', '.join(late)} (limit rendezvous)"
        if self.gang.progress and not all(h.state and h.state.is_terminal for h in self.hosts.values()):
            limit = "stall" if self.progress else "first_step"
            if time.monotonic() - self.progressed > getattr(self.limits, limit):
                return f"no progress for {getattr(self.limits, limit):.0f} s (limit {limit}), last: {self.progress or 'no iteration yet'}"
        return None

    async def _give_up(self, reason: str) -> dict[str, Any]:
        """End every rank everywhere, then say who failed first, with the last lines of its own log."""
        self.log.error("%s; ending the gang", reason)
        failed = {name: h.state for name, h in self.hosts.items() if h.state and h.state.has_failed}
        left = ""
        try:
            await self.hook.stop(self.gang.attempt)
            self.log.info("every process of %s is gone from every host", self.gang.marker)
        except SqltuneError as e:
            left = f"; and not all could be stopped: {e}"
        if failed:
            blamed, rank, reason = await self._first_to_fail(failed)
            reason += f" at {self.progress}" if self.progress else ""
            reason += await self._full_disks(blamed)
        else:
            blamed, rank = next((name for name, h in self.hosts.items() if h.silence > SILENT), None), None
        for name in self.hosts:
            if name != blamed:
                self.log.info("[%s] %s", name, failed[name].how_it_ended if name in failed else "stopped")
        self._fold()
        errors = [h.teller.first_error for h in self.hosts.values() if h.teller.first_error]
        for error in errors:
            self.log.error("first error: %s", error)
        return self._event(ok=False, reason=reason + left, failed=blamed, rank=rank, tail=await self._tail(blamed, rank) if blamed else "", first_errors=errors)

    async def _first_to_fail(self, failed: Mapping[str, JobState]) -> tuple[str, int | None, str]:
        """The host and rank that failed before the others, by all hosts' clocks compared with ours, and how; the others failed because of it.

        A host that is lost comes first: no rank elsewhere can have done that to it.
        """
        found: list[tuple[float, str, int | None, str]] = []
        for name, state in failed.items():
            host = self.hosts[name]
            if state.is_lost or state.state == "absent":
                found.append((float("-inf"), name, None, f"{name}: {state.how_it_ended}"))
                continue
            ended = state.ended or time.time()
            failure: RankFailure | None = None
            with contextlib.suppress(HostError):
                failure = rank_failure(await self.hook.tail(host.member, lines=400), ended)
            moment = host.ours(failure.at if failure and failure.at else ended)
            rank, words = (failure.rank, f"{name} {failure}") if failure else (None, f"{name}: {state.how_it_ended}")
            found.append((moment or 0.0, name, rank, words))
        _, name, rank, words = min(found, key=lambda f: f[:2])
        return name, rank, words if len(self.hosts) == 1 else f"{words}, before all others"

    async def _full_disks(self, name: str) -> str:
        """Said for the programs that don't: torch calls a full disk an unexpected position in a file."""
        try:
            said = (await self.hook.run(self.hosts[name].member, remote_job.room(self.gang, self.hosts[name].member))).decode().splitlines()
        except HostError:
            return ""
        full = [f"{free} MiB under {folder}" for free, _, folder in (line.partition(" ") for line in said) if free.isdigit() and int(free) < FULL]
        return f"; its disk is full ({', '.join(full)} free): delete old runs there" if full else ""

    async def _tail(self, name: str, rank: int | None = None) -> str:
        try:
            member = self.hosts[name].member
            return await self.hook.tail(member, rank) or await self.hook.tail(member)
        except HostError as e:
            return f"(its log can't be read: {e})"

    def _fold(self) -> None:
        """What was not shown, in numbers, and where the whole of it is."""
        for name, host in self.hosts.items():
            for words in host.teller.last_words():
                self.log.info("%s; the whole log is in the run's record: logs/%s.log", words, self.log_name(name))

    def _event(self, ok: bool, reason: str, failed: str | None = None, rank: int | None = None, tail: str = "", first_errors: Sequence[str] = ()) -> dict[str, Any]:
        skew, error = self.skew()
        return {
            "ok": ok, "reason": reason, "failed": failed, "rank": rank, "tail": tail, "first_errors": list(first_errors), "attempt": self.gang.attempt,
            "skew": skew, "skew_error": error if skew is not None else None, "progress": self.progress.model_dump() if self.progress else None,
        }
