"""Watching a gang: when it has to end, and whose fault that was."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Mapping, Sequence
from typing import Any

from ssh_gang import commands, protocol
from ssh_gang.errors import HostError, SshGangError
from ssh_gang.event import GangEvent
from ssh_gang.hook import GangHook
from ssh_gang.host_watch import SILENT, HostWatch, Keeper
from ssh_gang.log import RankFailure, rank_failure
from ssh_gang.progress import Progress
from ssh_gang.recorder import GangRecorder
from ssh_gang.state import JobState

CATCH_UP = 5.0
"""Seconds that hosts which were not heard yet are waited for, when it is to be said who failed first."""

FULL = 64
"""MiB of free disk below which a failure is said to be the disk's."""


class Watch:
    """Watches a gang until all have ended well or there is a reason to end it; stops what is left, and says whose fault it was.

    :param hook: its connections.
    :param log: where its output goes; a watcher that takes over goes on where the last one stopped.
    :param recorder: keeps the whole log, progress and GPU samples.
    """

    def __init__(self, hook: GangHook, log: Any, recorder: GangRecorder | None) -> None:
        self.hook, self.gang, self.log, self.recorder = hook, hook.gang, log, recorder
        self.limits = hook.gang.limits
        self._changed = asyncio.Event()
        self._keeper = Keeper(recorder, log)
        self._said_hosts: dict[str, str] = {}
        # A watcher that takes over does not get the lines again that were delivered: what they said is in the record.
        before = (
            recorder.last_progress(self.gang.attempt) if recorder and self.gang.progress_pattern else None
        )
        self.hosts = {
            m.host: HostWatch(hook, m, log, self._keeper, self._changed, before) for m in hook.gang.members
        }
        self._all_started = False

    @property
    def progress(self) -> Progress | None:
        """The furthest that any host has told of."""
        return max(
            (h.progress for h in self.hosts.values() if h.progress), key=lambda p: p.step, default=None
        )

    async def until_the_end(self) -> GangEvent:
        """Watch until the gang has ended."""
        followers = [asyncio.create_task(host.follow()) for host in self.hosts.values()]
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

    async def _remember_hosts(self) -> None:
        """Each host's state, for who looks at the run; written when it changed."""
        said = {
            h: "silent" if w.silence > SILENT else "…" if w.state is None else w.state.outcome
            for h, w in self.hosts.items()
        }
        for name, host in self.hosts.items():
            if said[name] == "silent" and not host.warned:
                host.warned = True
                self.log.warning(
                    "[%s] has not answered for %.0f s; its ranks go on (limit unreachable: %.0f s)",
                    name,
                    host.silence,
                    self.limits.unreachable,
                )
        if said != self._said_hosts:
            self._said_hosts = said
            if self.gang.progress_pattern:
                await self._keeper.keep(lambda to: to.host_states(self.gang.attempt, time.time(), said))

    def _notice_starts(self) -> None:
        """Once: that all have started, how far apart, and that torchrun has started every rank."""
        if self._all_started or not all(
            h.state and h.state.started_at and h.state.ranks_started >= h.member.ranks
            for h in self.hosts.values()
        ):
            return
        if not all(h.has_clock for h in self.hosts.values()):
            return
        self._all_started = True
        skew, error = self.skew()
        longest = max(h.elapsed for h in self.hosts.values())
        self.log.info(
            "every rank has started, %.1f s after the word; hosts %.1f ms apart (± %.1f ms)",
            longest,
            1000 * (skew or 0),
            1000 * error,
        )

    def skew(self) -> tuple[float | None, float]:
        """Seconds between the first and the last host's start, their clocks compared with ours; and how far off that may be."""
        starts = [
            h.ours(h.state.started_at) if h.state and h.has_clock else None for h in self.hosts.values()
        ]
        known = [s for s in starts if s is not None]
        if len(known) < len(starts):
            return None, float("inf")
        return max(known) - min(known), sum(sorted(h.clock_error for h in self.hosts.values())[-2:])

    def _trouble(self) -> str | None:
        """Why the gang has to be ended now."""
        failed = [
            f"{name}: {h.state.outcome}" for name, h in self.hosts.items() if h.state and h.state.has_failed
        ]
        if failed:
            return "; ".join(failed)
        for name, host in self.hosts.items():
            if host.silence > self.limits.unreachable:
                return f"{name}: not reachable for {self.limits.unreachable:.0f} s (limit unreachable)"
        elapsed = max(h.elapsed for h in self.hosts.values())
        if elapsed > self.limits.total:
            return f"not done after {self.limits.total:.0f} s (limit total)"
        late = [
            f"{name} {h.state.ranks_started} of {h.member.ranks}"
            for name, h in self.hosts.items()
            if h.state and h.state.is_running and h.state.ranks_started < h.member.ranks
        ]
        if late and elapsed > self.limits.rendezvous:
            return f"after {self.limits.rendezvous:.0f} s not every rank has started: {', '.join(late)} (limit rendezvous)"
        if self.gang.progress_pattern and not all(
            h.state and h.state.is_terminal for h in self.hosts.values()
        ):
            limit = "stall" if self.progress else "first_step"
            if time.monotonic() - max(h.progressed for h in self.hosts.values()) > getattr(
                self.limits, limit
            ):
                return f"no progress for {getattr(self.limits, limit):.0f} s (limit {limit}), last: {self.progress or 'no iteration yet'}"
        return None

    async def _give_up(self, reason: str) -> GangEvent:
        """End every rank everywhere, then say who failed first, with the last lines of its own log."""
        self.log.error("%s; ending the gang", reason)
        failed = {name: h.state for name, h in self.hosts.items() if h.state and h.state.has_failed}
        stopping, left = time.time(), ""
        try:
            await self.hook.stop(self.gang.attempt)
            self.log.info("every process of %s is gone from every host", self.gang.marker)
        except SshGangError as e:
            left = f"; and not all could be stopped: {e}"
        if failed:
            failed |= await self._failed_before(stopping)
            blamed, rank, reason = await self._first_to_fail(failed)
            reason += f" at {self.progress}" if self.progress else ""
            reason += await self._full_disks(blamed)
        else:
            blamed, rank = next((name for name, h in self.hosts.items() if h.silence > SILENT), None), None
        for name in self.hosts:
            if name != blamed:
                self.log.info("[%s] %s", name, failed[name].outcome if name in failed else "stopped")
        self._fold()
        errors = [h.teller.first_error for h in self.hosts.values() if h.teller.first_error]
        for error in errors:
            self.log.error("first error: %s", error)
        return self._event(
            ok=False,
            reason=reason + left,
            failed=blamed,
            rank=rank,
            tail=await self._tail(blamed, rank) if blamed else "",
            first_errors=errors,
        )

    async def _failed_before(self, moment: float) -> dict[str, JobState]:
        """Hosts that had failed by then, whoever was heard of first: a job that ends at once may have ended before its host was heard, or its clock known."""
        hosts = {name: h for name, h in self.hosts.items() if not (h.state and h.state.presence == "absent")}
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CATCH_UP):
                while not all(h.has_clock for h in hosts.values()):
                    self._changed.clear()
                    await self._changed.wait()
        return {
            name: h.state
            for name, h in hosts.items()
            if h.state
            and h.has_clock
            and h.state.exit_status.isdigit()
            and h.state.has_failed
            and (h.ours(h.state.ended_at) or moment) < moment
        }

    async def _first_to_fail(self, failed: Mapping[str, JobState]) -> tuple[str, int | None, str]:
        """The host and rank that failed before the others, by all hosts' clocks compared with ours, and how; the others failed because of it.

        A host that is lost comes first: no rank elsewhere can have done that to it.
        """
        found: list[tuple[float, str, int | None, str]] = []
        for name, state in failed.items():
            host = self.hosts[name]
            if state.is_lost or state.presence == "absent":
                found.append((float("-inf"), name, None, f"{name}: {state.outcome}"))
                continue
            ended = state.ended_at or time.time()
            failure: RankFailure | None = None
            with contextlib.suppress(HostError):
                failure = rank_failure(await self.hook.tail(host.member, lines=400), ended)
            moment = host.ours(failure.at if failure and failure.at else ended)
            rank, words = (
                (failure.rank, f"{name} {failure}") if failure else (None, f"{name}: {state.outcome}")
            )
            found.append((moment or 0.0, name, rank, words))
        _, name, rank, words = min(found, key=lambda f: f[:2])
        return name, rank, words if len(self.hosts) == 1 else f"{words}, before all others"

    async def _full_disks(self, name: str) -> str:
        """Said for the programs that don't: torch calls a full disk an unexpected position in a file."""
        member = self.hosts[name].member
        try:
            output = await self.hook.run(member, commands.free_space_command(self.gang, member))
        except HostError:
            return ""
        full = [
            f"{space.mebibytes} MiB under {space.folder}"
            for space in protocol.parse_lines(output)
            if isinstance(space, protocol.FreeSpace) and space.mebibytes < FULL
        ]
        return f"; its disk is full ({', '.join(full)} free): delete old runs there" if full else ""

    async def _tail(self, name: str, rank: int | None = None) -> str:
        try:
            member = self.hosts[name].member
            return await self.hook.tail(member, rank) or await self.hook.tail(member)
        except HostError as e:
            return f"(its log can't be read: {e})"

    def _fold(self) -> None:
        """What was not shown, in numbers, and where the whole of it is."""
        for host in self.hosts.values():
            for words in host.teller.last_words():
                self.log.info("%s; the whole log is recorded", words)

    def _event(
        self,
        ok: bool,
        reason: str,
        failed: str | None = None,
        rank: int | None = None,
        tail: str = "",
        first_errors: Sequence[str] = (),
    ) -> GangEvent:
        skew, error = self.skew()
        return GangEvent(
            ok=ok,
            reason=reason,
            failed_host=failed,
            failed_rank=rank,
            tail=tail,
            first_errors=tuple(first_errors),
            attempt=self.gang.attempt,
            seconds=max(h.elapsed for h in self.hosts.values()),
            launch_skew=skew,
            launch_skew_error=error if skew is not None else None,
            progress=self.progress,
        )
