"""Watches a gang: ends it at the first failure or exceeded limit, and reports how it ended."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Any

from ssh_gang.blame import CATCH_UP, Blame, failed_before, first_to_fail, full_disks, last_lines
from ssh_gang.errors import SshGangError
from ssh_gang.event import GangEvent
from ssh_gang.host_watch import HostWatch
from ssh_gang.launch_skew import last_end, launch_skew
from ssh_gang.limit_check import exceeded_limit
from ssh_gang.loss import LossPolicy, LossWatch
from ssh_gang.milestone import Kind, Milestone
from ssh_gang.progress import Progress, ProgressTracker
from ssh_gang.record_writer import CAPACITY, RecordWriter

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ssh_gang.hook import GangHook
    from ssh_gang.log import TaskLog
    from ssh_gang.recorder import GangRecorder
    from ssh_gang.state import JobState

LOOK_PAUSE = 1.0
"""Seconds after which the limits are checked again when nothing else happens."""

RECORDED_TAIL = 64 * 1024
"""Characters of the failed rank's last lines that are recorded: a line may be megabytes long."""


class Watch:
    """Watches a gang until every member has succeeded, or a failure or limit requires a stop.

    Output and states come from one follower for each host. A watcher that takes over from another goes on
    where the output was last acknowledged.

    Args:
        hook: The gang's connections.
        log: The task's log.
        recorder: Keeps the whole log, milestones, progress, GPU samples and host states; None keeps nothing.
        launched: The milestones of the launch, to be recorded with those of the watch.
    """

    def __init__(
        self,
        hook: GangHook,
        log: TaskLog,
        recorder: GangRecorder | None,
        launched: Sequence[Milestone] = (),
    ) -> None:
        self.hook, self.gang, self.log = hook, hook.gang, log
        self._changed = asyncio.Event()
        self._writer = RecordWriter(
            recorder,
            log,
            written=self._changed.set,
            capacity=CAPACITY,
            output_limit=self.gang.max_log_bytes,
        )
        self._launched = launched
        self._progress = ProgressTracker(self.gang.progress_pattern, self._record_progress)
        self.hosts = {
            member.host: HostWatch(hook, member, log, self._writer, self._progress, self._changed)
            for member in self.gang.members
        }
        self._statuses: dict[str, str] = {}
        self._has_reported_start = False
        self._ended_at: float | None = None
        self._loss = LossWatch(self.gang.loss.jump) if self.gang.loss else None
        self._bad_loss = ""
        self._telling: set[asyncio.Task[None]] = set()

    async def until_the_end(self) -> GangEvent:
        """Watch until the gang has ended and its records are written."""
        for milestone in self._launched:
            self._record(milestone)
        if self._progress.is_expected:
            self._restore_progress()
        tasks = [asyncio.create_task(host.follow()) for host in self.hosts.values()]
        tasks.append(asyncio.create_task(self._writer.run()))
        try:
            return await self._watch(tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            # What was being told of is bounded in time, and must not be lost with this watch.
            await asyncio.gather(*self._telling, return_exceptions=True)

    async def _watch(self, tasks: list[asyncio.Task[None]]) -> GangEvent:
        while True:
            await self._wait_for_change()
            _raise_unexpected(tasks)
            self._note_statuses()
            self._report_start()
            if overtaken := self._overtaken():
                return self._event(ok=False, reason=overtaken)
            reason = (
                self._failures()
                or self._bad_loss
                or exceeded_limit(self.gang.limits, list(self.hosts.values()), self._progress)
            )
            if reason:
                return await self._stop(reason, tasks)
            if all(host.has_succeeded for host in self.hosts.values()):
                self._limit_recording()
                if self._is_over:
                    return await self._end(tasks, ok=True, reason="every rank ended with exit code 0")

    @property
    def _is_over(self) -> bool:
        return all(host.is_done for host in self.hosts.values()) and self._writer.is_drained

    async def _wait_for_change(self) -> None:
        # Not wait_for: in Python 3.11 it may swallow a cancellation that comes together with the event.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LOOK_PAUSE):
                await self._changed.wait()
        self._changed.clear()

    def _restore_progress(self) -> None:
        """Queue the question where the training stood: lines that were acknowledged do not come again."""
        attempt, loop = self.gang.attempt, asyncio.get_running_loop()

        def restore(recorder: GangRecorder) -> None:
            previous = recorder.last_progress(attempt)
            loop.call_soon_threadsafe(self._go_on_from, previous)

        self._progress.is_restoring = self._writer.is_recording
        self._writer.put(restore)

    def _go_on_from(self, previous: Progress | None) -> None:
        self._progress.restore(previous)
        if previous is not None:
            self._note("taken_over", number=previous.step)

    def _record(self, milestone: Milestone) -> None:
        attempt = self.gang.attempt
        self._writer.put(lambda recorder: recorder.milestone(attempt, milestone))

    def _note(self, kind: Kind, **fields: Any) -> None:
        """Record that something has just happened."""
        self._record(Milestone(kind=kind, at=time.time(), **fields))

    def _record_progress(self, progress: Progress) -> None:
        attempt, at = self.gang.attempt, time.time()
        self._writer.put(lambda recorder: recorder.progress(attempt, at, progress))

        self._look_at_loss(progress)

    def _look_at_loss(self, progress: Progress) -> None:
        """Say that a loss is bad, and stop the gang for it where its policy says so."""
        policy = self.gang.loss
        problem = self._loss.look(progress) if self._loss else None
        if policy is None or problem is None:
            return
        self.log.warning("%s (on_loss: %s)", problem, "stop" if policy.stop else "tell")
        if policy.stop:
            self._bad_loss = f"{problem} (on_loss: stop)"
        if policy.told:
            task = asyncio.create_task(self._tell(policy, problem))
            self._telling.add(task)
            task.add_done_callback(self._telling.discard)

    async def _tell(self, policy: LossPolicy, problem: str) -> None:
        try:
            told = policy.who_is_told()
            if told is not None:
                await told(self.gang.owner, problem, policy.stop)
        except Exception as e:  # telling somebody must not end the watch
            self.log.warning("nobody could be told: %s: %s", type(e).__name__, e)

    def _note_statuses(self) -> None:
        """Record the state of every host when one of them has changed."""
        statuses = {name: host.status for name, host in self.hosts.items()}
        for host in self.hosts.values():
            host.warn_of_silence()
        if statuses == self._statuses:
            return
        self._statuses = statuses
        if self._progress.is_expected:
            attempt, at = self.gang.attempt, time.time()
            self._writer.put(lambda recorder: recorder.host_states(attempt, at, statuses))

    def _report_start(self) -> None:
        """Log, once, that every rank has started, and how far apart the hosts were."""
        if self._has_reported_start or not all(map(_has_started_every_rank, self.hosts.values())):
            return
        skew = launch_skew(self.hosts.values())
        if skew is None:
            return
        self._has_reported_start = True
        self._note("ranks_started", launch_skew=skew.seconds, launch_skew_error=skew.error)
        self.log.info(
            "every rank has started, %.1f s after the start signal; launch skew %.1f ms (± %.1f ms)",
            self._elapsed,
            1000 * skew.seconds,
            1000 * skew.error,
        )

    @property
    def _elapsed(self) -> float:
        return max(host.elapsed for host in self.hosts.values())

    def _failures(self) -> str:
        failed = self._failed_hosts()
        return "; ".join(f"{name}: {state.outcome}" for name, state in failed.items())

    def _failed_hosts(self) -> dict[str, JobState]:
        return {name: h.state for name, h in self.hosts.items() if h.state and h.state.has_failed}

    def _overtaken(self) -> str:
        """Where a newer attempt owns the gang's folder; it has stopped what ran of this one."""
        for name, host in self.hosts.items():
            if host.newer_attempt is not None:
                return (
                    f"{name}: attempt {host.newer_attempt} has taken over {self.gang.folder}; "
                    "this one is watched no longer"
                )
        return ""

    async def _stop(self, reason: str, tasks: list[asyncio.Task[None]]) -> GangEvent:
        """Stop every rank everywhere, then find out who failed first."""
        self.log.error("%s; stopping the gang", reason)
        self._note("stopping", reason=reason)
        failed, stopped_at = self._failed_hosts(), time.time()
        leftover = await self._stop_processes()
        self._note("stopped", reason=leftover.removeprefix("; and "))
        host: str | None
        if failed:
            failed |= await failed_before(self.hosts, stopped_at, self._changed)
            blame = await first_to_fail(self.hook, self.hosts, failed)
            host, rank, reason = blame.host, blame.rank, await self._describe(blame)
            # Where a host was silent or could not be stopped, the ranks may have lost each other.
            how, code = blame.exit, None if leftover or self._longest_silent() else blame.code
        else:
            host, rank, how, code = self._longest_silent(), None, "", None
        for name in self.hosts:
            if name != host:
                self.log.info("[%s] %s", name, failed[name].outcome if name in failed else "stopped")
        tail = await last_lines(self.hook, self.hosts[host].member, rank) if host else ""
        await self._finish_records(tasks, stopped=not leftover)
        return await self._end(
            tasks,
            ok=False,
            reason=reason + leftover,
            failed_host=host,
            failed_rank=rank,
            failed_exit=how,
            failed_code=code,
            tail=tail,
        )

    def _longest_silent(self) -> str | None:
        silent = {name: host.silence for name, host in self.hosts.items() if host.is_silent}
        return max(silent, key=silent.__getitem__, default=None)

    async def _stop_processes(self) -> str:
        """Stop the attempt on every host; return an addition to the reason where that failed."""
        try:
            await self.hook.stop(self.gang.attempt)
        except SshGangError as e:
            return f"; and not all could be stopped: {e}"
        self.log.info("no process of %s is left on any host", self.gang.marker)
        return ""

    async def _describe(self, blame: Blame) -> str:
        first = blame.reason if len(self.hosts) == 1 else f"{blame.reason}, before all others"
        at = f" at {self._progress.latest}" if self._progress.latest else ""
        return first + at + await full_disks(self.hook, self.hosts[blame.host].member)

    async def _finish_records(self, tasks: list[asyncio.Task[None]], *, stopped: bool) -> None:
        """Take the rest of the hosts' output, and wait until everything is recorded.

        Args:
            tasks: The followers and the record writer.
            stopped: Whether no process is left anywhere. If one is, its output may never end.
        """
        self._ended_at = began = time.monotonic()
        while True:
            have_sent_all = all(host.has_sent_all for host in self.hosts.values())
            is_late = not stopped and time.monotonic() - began > CATCH_UP
            if self._writer.is_drained and (have_sent_all or is_late):
                return
            self._limit_recording()
            await self._wait_for_change()
            _raise_unexpected(tasks)

    async def _end(self, tasks: list[asyncio.Task[None]], **outcome: Any) -> GangEvent:
        """Report the end, once it is recorded."""
        self._log_summaries()
        event = self._event(**outcome)
        recorded = event.model_copy(update={"tail": event.tail[-RECORDED_TAIL:]})
        at = last_end(self.hosts.values()) or time.time()
        self._record(Milestone(kind="ended", at=at, end=recorded))
        while not self._writer.is_drained:
            self._limit_recording()
            await self._wait_for_change()
            _raise_unexpected(tasks)
        return event

    def _limit_recording(self) -> None:
        """Give up records that could not be written within the limit `records` after the gang's end."""
        if self._ended_at is None:
            self._ended_at = time.monotonic()
        waited = time.monotonic() - self._ended_at
        if waited > self.gang.limits.records and not self._writer.is_drained:
            limit = f"{self.gang.limits.records:.0f} s (limit records)"
            self._writer.abandon(f"{limit} after the gang's end")

    def _log_summaries(self) -> None:
        for host in self.hosts.values():
            host.log_summary()

    def _event(
        self,
        *,
        ok: bool,
        reason: str,
        failed_host: str | None = None,
        failed_rank: int | None = None,
        failed_exit: str = "",
        failed_code: int | None = None,
        tail: str = "",
    ) -> GangEvent:
        outputs = [] if ok else [host.output for host in self.hosts.values()]
        errors = tuple(output.first_error for output in outputs if output.first_error)
        for error in errors:
            self.log.error("first error: %s", error)
        skew = launch_skew(self.hosts.values())
        return GangEvent(
            ok=ok,
            attempt=self.gang.attempt,
            reason=reason,
            failed_host=failed_host,
            failed_rank=failed_rank,
            failed_exit=failed_exit,
            failed_code=failed_code,
            tail=tail,
            first_errors=errors,
            seconds=self._elapsed,
            launch_skew=skew and skew.seconds,
            launch_skew_error=skew and skew.error,
            progress=self._progress.latest,
        )


def _has_started_every_rank(host: HostWatch) -> bool:
    state = host.state
    return state is not None and bool(state.started_at) and state.ranks_started >= host.member.ranks


def _raise_unexpected(tasks: list[asyncio.Task[None]]) -> None:
    """Raise the error of a task that has ended: followers and the record writer end only by a bug."""
    for task in tasks:
        if task.done():
            task.result()
