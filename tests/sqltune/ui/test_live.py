"""News of a run: each is read once, and reaches every page that shows the run."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

import httpx
import pytest

from sqltune.records import runs, series
from sqltune.records.errors import SchemaError
from sqltune.ui import hosts_page, live, run_page
from sqltune.ui.app import create_app
from sqltune.ui.live import Feeds, RunReader, moment
from tests.conftest import serving
from tests.sqltune.ui.gangs import Gang, at, iso


@pytest.fixture
def gang(engine) -> Gang:
    made = Gang()
    made.launch("try1", 0)
    made.steps("try1", 1, 5, seconds=10)
    return made


class Clock:
    """Seconds that a test lets pass."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def reader(gang, clock) -> RunReader:
    return RunReader(gang.key, clock)


def names(news: list[live.News]) -> list[str]:
    return [one.name for one in news]


def test_the_first_look_brings_everything_but_the_past_of_the_curves(reader):
    assert names(reader.read()) == ["hosts", "head", "failure", "timeline"]


def test_each_event_is_the_answer_of_the_route_of_its_name(reader, gang):
    news = {one.name: json.loads(one.data) for one in reader.read()}
    assert news["head"] == run_page.head(gang.key).model_dump(mode="json")
    assert news["hosts"] == [host.model_dump(mode="json") for host in hosts_page.hosts(gang.key)]


def test_a_look_at_a_run_of_which_nothing_is_new_brings_nothing(reader, clock):
    reader.read()
    clock.now += 60
    assert reader.read() == []


def test_new_iterations_are_news_at_once(reader, gang):
    reader.read()
    gang.steps("try1", 6, 7, seconds=20)
    [news] = reader.read()
    assert json.loads(news.data)["loss"]["steps"] == [5, 6, 7]
    assert news.cursor == at(22)
    assert reader.read() == []


def test_the_first_iterations_of_a_run_are_news(engine):
    gang = Gang()
    reader = RunReader(gang.key)
    reader.read()
    gang.steps("try1", 1, 2, seconds=10)
    assert names(reader.read()) == ["series"]


def test_what_else_has_changed_is_news_a_few_seconds_later(reader, gang, clock):
    reader.read()
    gang.steps("try1", 6, 6, seconds=20)
    assert names(reader.read()) == ["series"]
    clock.now += live.DETAILS
    assert names(reader.read()) == ["head"]


def test_sums_over_all_iterations_are_worked_out_less_often(reader, gang, clock):
    reader.read()
    gang.steps("try1", 6, 6, seconds=20)
    clock.now += live.SUMMARY
    assert names(reader.read()) == ["series", "head", "timeline"]


def test_a_new_milestone_is_news_as_soon_as_details_are(reader, gang, clock):
    reader.read()
    gang.checkpoint("try1", 5, seconds=30)
    clock.now += live.DETAILS
    assert "timeline" in names(reader.read())


def test_a_new_last_line_of_a_log_is_news(reader, gang, clock):
    reader.read()
    gang.recorder.output("try1", "host-a", 0, b"hello\n")
    clock.now += live.DETAILS
    assert names(reader.read()) == ["hosts"]


@dataclass(frozen=True)
class Event:
    """A server-sent event."""

    name: str
    id: str | None
    data: object


def parse(block: str) -> Event:
    fields = dict(line.partition(": ")[::2] for line in block.splitlines())
    return Event(fields["event"], fields.get("id"), json.loads(fields["data"]))


class Listener:
    """What a stream brings."""

    def __init__(self, stream: AsyncIterator[str]) -> None:
        self._stream = stream

    async def until(self, name: str) -> Event:
        """The next event of a name; others are dropped."""
        async for block in self._stream:
            if block.startswith(f"event: {name}\n"):
                return parse(block)
        raise AssertionError(f"the stream ended before {name}")

    async def rest(self) -> list[Event]:
        """All that comes until the end."""
        return [parse(block) async for block in self._stream if block.startswith("event: ")]


@contextlib.asynccontextmanager
async def listening(feeds: Feeds, key: str, after=None) -> AsyncIterator[Listener]:
    stream = feeds.stream(key, after)
    try:
        yield Listener(stream)
    finally:
        await stream.aclose()


@pytest.fixture
def short_pauses(monkeypatch) -> None:
    monkeypatch.setattr(live, "POLL", 0.02)
    monkeypatch.setattr(live, "DETAILS", 0.02)


def play(test) -> None:
    """Run a test that may take twenty seconds."""

    async def go() -> None:
        async with asyncio.timeout(20):
            await test()

    asyncio.run(go())


def test_a_listener_without_curves_gets_all_of_them(gang, short_pauses):
    async def test() -> None:
        async with listening(Feeds(), gang.key) as page:
            event = await page.until("series")
        assert (event.data["loss"]["steps"], moment(event.id)) == ([1, 2, 3, 4, 5], at(18))

    play(test)


def test_a_listener_goes_on_where_its_last_stream_ended(gang, short_pauses):
    async def test() -> None:
        async with listening(Feeds(), gang.key, after=at(14)) as page:
            assert (await page.until("series")).data["loss"]["steps"] == [3, 4, 5]

    play(test)


def test_a_listener_that_has_all_curves_gets_only_new_iterations(gang, short_pauses):
    async def test() -> None:
        async with listening(Feeds(), gang.key, after=at(18)) as page:
            await page.until("head")
            await asyncio.to_thread(gang.steps, "try1", 6, 6, 20)
            assert (await page.until("series")).data["loss"]["steps"] == [5, 6]

    play(test)


def test_two_listeners_share_what_is_read(gang, short_pauses, monkeypatch):
    read = []
    monkeypatch.setattr(RunReader, "read", counted(RunReader.read, read))

    async def test() -> None:
        feeds = Feeds()
        async with (
            listening(feeds, gang.key, after=at(18)) as one,
            listening(feeds, gang.key, after=at(18)) as other,
        ):
            await one.until("head")
            await other.until("head")
            await asyncio.to_thread(gang.steps, "try1", 6, 6, 20)
            for page in (one, other):
                assert (await page.until("series")).data["loss"]["steps"][-1] == 6
        assert len(feeds._feeds) == 1
        assert sum("series" in names(news) for news in read) == 1

    play(test)


def counted(read, results: list):
    def wrapped(self):
        news = read(self)
        results.append(news)
        return news

    return wrapped


def test_a_later_listener_gets_the_newest_of_each_kind_without_a_read(gang, short_pauses, monkeypatch):
    monkeypatch.setattr(live, "DETAILS", 600)

    async def test() -> None:
        feeds = Feeds()
        async with listening(feeds, gang.key) as one:
            await one.until("timeline")
            async with listening(feeds, gang.key, after=at(18)) as other:
                assert (await other.until("timeline")).data["attempts"][0]["attempt"] == "try1"

    play(test)


def test_a_feed_ends_when_nobody_has_listened_for_a_while(gang, short_pauses, monkeypatch):
    monkeypatch.setattr(live, "LINGER", 0.1)

    async def test() -> None:
        feeds = Feeds()
        async with listening(feeds, gang.key) as page:
            await page.until("head")
        [feed] = feeds._feeds.values()
        await feed._task
        assert feeds._feeds == {}

    play(test)


def test_a_stream_ends_by_itself(gang, short_pauses, monkeypatch):
    monkeypatch.setattr(live, "LIFETIME", 0.5)

    async def test() -> None:
        async with listening(Feeds(), gang.key) as page:
            assert {event.name for event in await page.rest()} >= {"series", "head"}

    play(test)


def test_a_stream_whose_listener_is_too_slow_ends(gang, short_pauses, monkeypatch):
    monkeypatch.setattr(live, "BACKLOG", 0)

    async def test() -> None:
        async with listening(Feeds(), gang.key) as page:
            assert [event.name for event in await page.rest()] == ["series"]

    play(test)


def test_a_feed_goes_on_after_the_database_was_away(gang, short_pauses, monkeypatch, caplog):
    read, failures = runs.active_at, iter(range(100))

    def active_at(key):
        # At the first look all is well, and at the next two it is not.
        if next(failures) in (1, 2):
            raise SchemaError("away")
        return read(key)

    monkeypatch.setattr(runs, "active_at", active_at)

    async def test() -> None:
        async with listening(Feeds(), gang.key, after=at(18)) as page:
            await page.until("head")
            await asyncio.to_thread(gang.steps, "try1", 6, 6, 20)
            assert (await page.until("series")).data["loss"]["steps"] == [5, 6]

    play(test)
    assert len([m for m in caplog.messages if "cannot be read" in m]) == 1


@pytest.mark.parametrize("event_id", [None, "", "7", "yesterday", "2026-11-01T02:00:00"])
def test_an_id_that_is_no_moment_is_none_of_ours(event_id):
    assert moment(event_id) is None


@pytest.fixture
def served(gang) -> Iterator[str]:
    with serving(create_app()) as url:
        yield f"{url}/api/v1/runs/{gang.key}"


def events_of(response: httpx.Response) -> Iterator[Event]:
    """The events that a stream brings, as they come."""
    block = ""
    for line in response.iter_lines():
        if line:
            block += f"{line}\n"
            continue
        if block.startswith("event: "):
            yield parse(block)
        block = ""


def first(events: Iterator[Event], name: str) -> Event:
    """The next event of a name."""
    return next(event for event in events if event.name == name)


def test_a_stream_over_http_is_of_the_type_that_browsers_expect_and_never_stored(served):
    with httpx.stream("GET", f"{served}/events", timeout=20) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        assert response.headers["cache-control"] == "no-store"
        assert first(events_of(response), "series").id


def test_the_last_event_id_of_a_browser_is_where_its_stream_goes_on(served):
    headers = {"Last-Event-ID": at(16).isoformat()}
    with httpx.stream("GET", f"{served}/events", headers=headers, timeout=20) as response:
        curves = first(events_of(response), "series")
    assert curves.data["loss"]["steps"] == [4, 5]


def test_an_iteration_is_sent_within_two_seconds_of_its_record(served, gang):
    with httpx.stream("GET", f"{served}/events", params={"after": iso(18)}, timeout=20) as response:
        events = events_of(response)
        first(events, "timeline")
        gang.steps("try1", 6, 6, seconds=20)
        recorded = time.monotonic()
        first(events, "series")
    assert time.monotonic() - recorded < 2


def test_the_events_of_an_unknown_run_are_not_found(served):
    response = httpx.get(served.replace("/r1", "/nothing") + "/events", timeout=20)
    assert response.status_code == 404


def test_reading_the_last_iteration_again_is_not_needed(gang, monkeypatch):
    """The cursor repeats one iteration, and no more, however long the training is."""
    gang.steps("try1", 6, 40, seconds=20)
    reader = RunReader(gang.key)
    reader.read()
    gang.steps("try1", 41, 41, seconds=90)
    since = []
    read = series.iterations
    monkeypatch.setattr(series, "iterations", lambda key, after: since.append(after) or read(key, after))
    reader.read()
    assert since == [at(88)]
