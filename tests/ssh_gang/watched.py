"""A watch of hosts that a test plays, with a recorder in memory and short pauses."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from ssh_gang.event import GangEvent
from ssh_gang.gpus import Gpu
from ssh_gang.host_watch import HostWatch
from ssh_gang.milestone import Kind, Milestone
from ssh_gang.progress import Progress, ProgressTracker
from ssh_gang.ranks import RankReport
from ssh_gang.record_writer import RecordWriter
from ssh_gang.watch import Watch
from tests.ssh_gang.fake_host import PATTERN, FakeHook, FakeHost, gang

T = TypeVar("T")

LOG = logging.getLogger("test")


def play(test: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a test that may take a minute; what it returns."""

    async def go() -> T:
        async with asyncio.timeout(60):
            return await test()

    return asyncio.run(go())


async def until(condition: Callable[[], object]) -> None:
    """Wait until a condition is met; the test's own limit ends the wait."""
    while not condition():  # noqa: ASYNC110  # What is waited for sets no event.
        await asyncio.sleep(0.002)


class MemoryRecorder:
    """Keeps everything in memory, and raises `error` for as long as it is set.

    Args:
        error: Why nothing can be written.
        previous: The step that an earlier watch has recorded.
    """

    def __init__(self, error: Exception | None = None, previous: Progress | None = None) -> None:
        self.error = error
        self.previous = previous
        self.tries = 0
        self.logs: dict[str, bytes] = {}
        self.steps: list[int] = []
        self.states: list[dict[str, str]] = []
        self.samples: list[str] = []
        self.milestones: list[Milestone] = []
        self.reports: list[RankReport] = []

    def __getitem__(self, kind: Kind) -> Milestone:
        """The one milestone of a kind."""
        [found] = [milestone for milestone in self.milestones if milestone.kind == kind]
        return found

    def output(self, attempt: str, host: str, offset: int, data: bytes) -> None:
        self._check()
        log = self.logs.get(host, b"")
        assert offset == len(log), "a byte is missing, or there twice"
        self.logs[host] = log + data

    def progress(self, attempt: str, at: float, progress: Progress) -> None:
        self._check()
        self.steps.append(progress.step)

    def host_states(self, attempt: str, at: float, states: Mapping[str, str]) -> None:
        self._check()
        self.states.append(dict(states))

    def gpu_samples(self, attempt: str, at: float, host: str, samples: Sequence[Gpu]) -> None:
        self._check()
        self.samples += map(str, samples)

    def rank_reports(self, attempt: str, host: str, reports: Sequence[RankReport]) -> None:
        self._check()
        self.reports += reports

    def milestone(self, attempt: str, milestone: Milestone) -> None:
        self._check()
        self.milestones.append(milestone)

    def last_progress(self, attempt: str) -> Progress | None:
        self._check()
        return self.previous

    def _check(self) -> None:
        self.tries += 1
        if self.error:
            raise self.error


class Followed:
    """A host that the test plays, and the watch that follows it."""

    def __init__(
        self, recorder: MemoryRecorder | None = None, capacity: int = 1_000_000, **more: Any
    ) -> None:
        self.hook = FakeHook(gang("a", **more))
        self.host: FakeHost = self.hook.hosts["a"]
        limit = self.hook.gang.max_log_bytes
        self.writer = RecordWriter(recorder, LOG, capacity=capacity, longest_pause=0.01, output_limit=limit)
        self.progress = ProgressTracker(PATTERN, lambda progress: None)
        [member] = self.hook.gang.members
        self.watch = HostWatch(self.hook, member, LOG, self.writer, self.progress, asyncio.Event())

    @asynccontextmanager
    async def following(self) -> AsyncIterator[asyncio.Task[None]]:
        """Follow the host for the length of a block."""
        tasks = [asyncio.create_task(self.watch.follow()), asyncio.create_task(self.writer.run())]
        try:
            yield tasks[0]
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def until_acknowledged(self) -> None:
        """Wait until the host knows that all of its output was forwarded and recorded."""
        await until(lambda: self.host.acknowledged == len(self.host.output))


@asynccontextmanager
async def watching(
    hook: FakeHook, recorder: MemoryRecorder | None = None, launched: Sequence[Milestone] = ()
) -> AsyncIterator[asyncio.Task[GangEvent]]:
    """Watch a gang for the length of a block."""
    ending = asyncio.create_task(Watch(hook, LOG, recorder, launched).until_the_end())
    try:
        yield ending
    finally:
        ending.cancel()
        await asyncio.gather(ending, return_exceptions=True)


async def keep_reporting(host: FakeHost) -> None:
    """Report a host's state again and again, until cancelled."""
    while True:
        host.report()
        await asyncio.sleep(0.01)
