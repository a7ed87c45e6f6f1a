"""News of a run as they are recorded: read once, for everybody who has the run's page open."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TypeVar

from pydantic import TypeAdapter
from sqlalchemy.exc import SQLAlchemyError

from sqltune.errors import SqltuneError
from sqltune.records import milestones, runs, series
from sqltune.ui import failure_page, hosts_page, run_page, timeline_page
from sqltune.ui.downsampling import POINTS

log = logging.getLogger(__name__)

T = TypeVar("T")

POLL = 1.0
"""Seconds between two looks at a run: an iteration is on the screen within two seconds."""
DETAILS = 5.0
"""Seconds between two looks at everything else: head, hosts, last lines, failure."""
SUMMARY = 15.0
"""Seconds after which sums over all iterations are worked out again, while the training goes on."""
LIFETIME = 8.0
"""Seconds that one stream lasts: a server that is stopped waits for it, and access is checked when the next
one begins."""
RECONNECT = 300
"""Milliseconds after which a browser opens the next stream."""
LINGER = 5.0
"""Seconds that a feed waits for its next listener before it ends."""
BACKLOG = 100
"""News that wait for a slow listener; beyond them its stream ends, and the next one catches up."""


@dataclass(frozen=True)
class News:
    """One event: the name of a route of the API, and its answer now."""

    name: str
    data: str
    """JSON."""
    cursor: datetime | None = None
    """Of curves: the moment of their newest iteration."""

    @classmethod
    def of(cls, name: str, answer: object, cursor: datetime | None = None) -> News:
        """Return an answer of the API as an event."""
        return cls(name, TypeAdapter(object).dump_json(answer).decode(), cursor)

    def __str__(self) -> str:
        position = f"id: {self.cursor.isoformat()}\n" if self.cursor else ""
        return f"event: {self.name}\n{position}data: {self.data}\n\n"


class RunReader:
    """Reads what is new of a run; its methods block, and run in a thread.

    Args:
        key: The run.
        clock: Returns seconds that only grow.
    """

    def __init__(self, key: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._key, self._clock = key, clock
        self._active_at: datetime | None = None
        self._cursor: datetime | None = None
        self._details_are_stale = self._summary_is_stale = False
        self._details_due = self._summary_due = clock()
        self._milestones = 0
        self._seen: dict[str, str] = {}

    def read(self) -> list[News]:
        """Return what has changed since the last call; at the first, all but the past of the curves.

        Where nothing has changed, it costs one small query.
        """
        active_at = runs.active_at(self._key)
        news = []
        if active_at != self._active_at:
            self._active_at = active_at
            self._details_are_stale = self._summary_is_stale = True
            news += self._iterations()
        if self._clock() >= self._details_due:
            self._details_due = self._clock() + DETAILS
            news += self._details()
        return news

    def _iterations(self) -> list[News]:
        if self._cursor is None:
            last = series.last_iteration(self._key)
            self._cursor = last.at if last else _BEFORE_ALL
            return []
        curves = run_page.curves(self._key, POINTS, self._cursor)
        if curves.cursor is None or curves.cursor <= self._cursor:
            return []
        self._cursor = curves.cursor
        return [News.of("series", curves, curves.cursor)]

    def _details(self) -> list[News]:
        # The last lines of the logs are not in the database: nothing tells that they are new.
        news = self._changed("hosts", hosts_page.hosts(self._key))
        if self._details_are_stale:
            self._details_are_stale = False
            news += self._changed("head", run_page.head(self._key))
            news += self._changed("failure", failure_page.failure(self._key))
        if self._summary_is_stale and (self._has_new_milestones() or self._clock() >= self._summary_due):
            self._summary_is_stale = False
            self._summary_due = self._clock() + SUMMARY
            news += self._changed("timeline", timeline_page.timeline(self._key))
        return news

    def _has_new_milestones(self) -> bool:
        before, self._milestones = self._milestones, milestones.count(self._key)
        return self._milestones != before

    def _changed(self, name: str, answer: object) -> list[News]:
        news = News.of(name, answer)
        if self._seen.get(name) == news.data:
            return []
        self._seen[name] = news.data
        return [news]


class Feed:
    """The news of one run, for its listeners.

    Args:
        reader: Reads what is new.
        ended: Called when nobody has listened for a while; the feed reads no more.
    """

    def __init__(self, reader: RunReader, ended: Callable[[], object]) -> None:
        self._reader = reader
        self._listeners: set[asyncio.Queue[News | None]] = set()
        self._latest: dict[str, News] = {}
        self.is_ready = asyncio.Event()
        """Set once the run has been read: what is recorded from then on becomes news."""
        self._task = asyncio.create_task(self._run())
        self._task.add_done_callback(lambda _: ended())

    @contextmanager
    def listener(self) -> Iterator[asyncio.Queue[News | None]]:
        """Listen for the length of a block.

        The queue begins with the newest of each kind, without the curves; None ends it.
        """
        queue: asyncio.Queue[News | None] = asyncio.Queue()
        for news in self._latest.values():
            queue.put_nowait(news)
        self._listeners.add(queue)
        try:
            yield queue
        finally:
            self._listeners.discard(queue)

    async def _run(self) -> None:
        listened_at, has_failed = time.monotonic(), False
        while time.monotonic() - listened_at < LINGER:
            if self._listeners:
                listened_at = time.monotonic()
                try:
                    self._publish(await asyncio.to_thread(self._reader.read))
                    self.is_ready.set()
                    has_failed = False
                except (SQLAlchemyError, SqltuneError, OSError) as e:
                    if not has_failed:
                        log.warning("news of a run cannot be read, and it is tried again: %s", e)
                    has_failed = True
            await asyncio.sleep(POLL)

    def _publish(self, news: list[News]) -> None:
        for one in news:
            if one.cursor is None:
                self._latest[one.name] = one
            for queue in list(self._listeners):
                if queue.qsize() < BACKLOG:
                    queue.put_nowait(one)
                else:
                    queue.put_nowait(None)
                    self._listeners.discard(queue)


class Feeds:
    """The feeds of all runs that somebody looks at, in this process."""

    def __init__(self) -> None:
        self._feeds: dict[str, Feed] = {}

    async def stream(self, key: str, after: datetime | None) -> AsyncIterator[str]:
        """Yield a run's news as server-sent events, until the stream's time is over.

        Args:
            key: The run.
            after: The moment up to which the listener has the curves; None where it has nothing.
        """
        ends_at = time.monotonic() + LIFETIME
        yield f"retry: {RECONNECT}\n\n"
        feed = self._feed(key)
        with feed.listener() as queue:
            await _within(feed.is_ready.wait(), ends_at)
            caught_up = await asyncio.to_thread(_catch_up, key, after)
            if caught_up.cursor != after:
                yield str(caught_up)
            while news := await _within(queue.get(), ends_at):
                if not _is_known(news, caught_up.cursor):
                    yield str(news)

    def _feed(self, key: str) -> Feed:
        if key not in self._feeds:
            self._feeds[key] = Feed(RunReader(key), ended=partial(self._feeds.pop, key, None))
        return self._feeds[key]


def moment(event_id: str | None) -> datetime | None:
    """Return the moment that an event's id names, or None where it is none of ours."""
    try:
        parsed = datetime.fromisoformat(event_id or "")
    except ValueError:
        return None
    return parsed if parsed.tzinfo else None


_BEFORE_ALL = datetime.fromtimestamp(0, UTC)
"""A cursor before every iteration."""


async def _within(waiting: Awaitable[T], ends_at: float) -> T | None:
    """What is waited for; None where it does not come in time."""
    try:
        async with asyncio.timeout(ends_at - time.monotonic()):
            return await waiting
    except TimeoutError:
        return None


def _catch_up(key: str, after: datetime | None) -> News:
    curves = run_page.curves(key, POINTS, after)
    return News.of("series", curves, curves.cursor)


def _is_known(news: News, cursor: datetime | None) -> bool:
    """Whether the curves up to a moment hold the news already."""
    return news.cursor is not None and cursor is not None and news.cursor <= cursor
