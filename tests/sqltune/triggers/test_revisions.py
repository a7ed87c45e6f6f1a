"""The watcher, as the triggerer runs it, on a hub that changes."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import pytest

from sqltune.records import revisions
from sqltune.records.revisions import Feed
from sqltune.triggers import revisions as module
from sqltune.triggers.revisions import RevisionTrigger
from tests.changing_hub import NAME, ChangingHub
from tests.conftest import free_port, serving
from tests.waiting import wait_until

FEED = Feed("lab", "lab_tiny", NAME)


@pytest.fixture
def hub(records, monkeypatch):
    monkeypatch.setattr(module, "WEBHOOK_POLL", 0.05)
    served = ChangingHub()
    served.push("first")
    with serving(served) as url:
        served.url = url
        yield served


def trigger(url: str, seconds: float = 0.05) -> RevisionTrigger:
    made = RevisionTrigger(
        cluster="lab", recipe="lab_tiny", dataset_repo=NAME, branch="main", endpoint=url, seconds=seconds
    )
    _, arguments = made.serialize()
    return RevisionTrigger(**arguments)


@asynccontextmanager
async def watching(url: str, seconds: float = 0.05):
    """The trigger's events, as `next_event()` gives them."""
    events = trigger(url, seconds).run()
    try:
        yield lambda: asyncio.wait_for(anext(events), 20)
    finally:
        await events.aclose()


def shas(hub: ChangingHub, *numbers: int) -> list[str]:
    return [hub.commits[n].sha for n in numbers]


def test_each_look_that_finds_commits_is_an_event(hub):
    async def watch() -> None:
        async with watching(hub.url) as next_event:
            assert (await next_event()).payload["commits"] == shas(hub, 0)
            hub.push("second", "third")
            assert (await next_event()).payload == {
                "dataset": NAME,
                "branch": "main",
                "commits": shas(hub, 1, 2),
            }

    asyncio.run(watch())


def test_a_watcher_that_is_started_again_tells_what_waits_and_finds_what_came_meanwhile(hub):
    async def watch() -> list[str]:
        async with watching(hub.url) as next_event:
            return (await next_event()).payload["commits"]

    asyncio.run(watch())
    hub.push("second", "third")
    assert asyncio.run(watch()) == shas(hub, 0, 1, 2)


def test_a_hub_that_does_not_answer_is_told_once_and_asked_again(records, caplog, monkeypatch):
    port = free_port()
    looks = []

    class Counted(RevisionTrigger):
        def _look(self, is_first):
            looks.append(is_first)
            return super()._look(is_first)

    async def watch() -> None:
        made = Counted(**trigger(f"http://127.0.0.1:{port}").serialize()[1])
        task = asyncio.create_task(anext(made.run()))
        await asyncio.to_thread(wait_until, lambda: len(looks) >= 3, 20)
        task.cancel()

    asyncio.run(watch())
    told = [r for r in caplog.records if "cannot be watched" in r.message]
    assert len(told) == 1
    assert looks[:3] == [True] * 3


def test_a_webhook_makes_it_look_at_once(hub):
    async def watch() -> None:
        async with watching(hub.url, seconds=3600) as next_event:
            await next_event()
            hub.push("second")
            following = asyncio.ensure_future(next_event())
            await asyncio.to_thread(revisions.ask, FEED)
            assert (await following).payload["commits"] == shas(hub, 1)

    asyncio.run(watch())
