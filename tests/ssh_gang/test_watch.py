"""Watching a gang: how it ends, what is stopped, and what is recorded and said."""

from __future__ import annotations

import asyncio
import time

import pytest

from ssh_gang import host_watch, watch
from ssh_gang.event import GangEvent
from ssh_gang.model import Limits
from ssh_gang.progress import Progress
from ssh_gang.recorder import RecorderUnavailable
from tests.ssh_gang.fake_host import PATTERN, FakeHook, gang
from tests.ssh_gang.watched import (
    MemoryRecorder,
    keep_reporting,
    play,
    until,
    watching,
)

pytestmark = pytest.mark.usefixtures("short_pauses")


def test_a_gang_has_succeeded_when_every_host_has_and_all_output_is_acknowledged(caplog):
    async def test() -> None:
        hook = FakeHook(gang())
        async with watching(hook) as ending:
            hook.hosts["a"].print("one\n")
            hook.hosts["a"].end(0)
            hook.hosts["b"].print("two\n")
            await until(lambda: "[b] two" in caplog.messages)
            assert not ending.done()
            hook.hosts["b"].end(0)
            event = await ending
        assert event.ok
        assert event.reason == "every rank ended with exit code 0"
        assert [host.acknowledged for host in hook.hosts.values()] == [4, 4]
        assert hook.stopped == []

    play(test)


def test_the_first_failure_stops_the_gang_and_is_blamed():
    async def test() -> None:
        hook = FakeHook(gang())
        async with watching(hook) as ending:
            hook.hosts["b"].print("loading\nValueError: no such layer\n")
            hook.hosts["b"].end(7)
            event = await ending
        assert not event.ok
        assert event.reason == "b: exit code 7, before all others"
        assert event.failed_host == "b"
        assert event.failed_rank is None
        assert event.tail == "loading\nValueError: no such layer"
        assert event.first_errors == ("[b] ValueError: no such layer",)
        assert hook.stopped == ["try1"]

    play(test)


def test_a_silent_host_is_waited_for_and_the_gang_goes_on(monkeypatch, caplog):
    monkeypatch.setattr(host_watch, "SILENT", 0.05)

    async def test() -> None:
        hook = FakeHook(gang())
        recorder = MemoryRecorder()
        hook.gang = hook.gang.model_copy(update={"progress_pattern": PATTERN})
        async with watching(hook, recorder) as ending:
            await until(lambda: {"a": "running", "b": "running"} in recorder.states)
            hook.hosts["b"].answers = False
            keep = asyncio.create_task(keep_reporting(hook.hosts["a"]))
            await until(lambda: {"a": "running", "b": "silent"} in recorder.states)
            hook.hosts["b"].answers = True
            hook.hosts["b"].break_off()
            keep.cancel()
            for host in hook.hosts.values():
                host.end(0)
            assert (await ending).ok
        assert hook.stopped == []

    play(test)
    assert any(message.startswith("[b] has not answered for") for message in caplog.messages)


def test_a_host_that_is_silent_for_too_long_ends_the_gang(monkeypatch):
    monkeypatch.setattr(host_watch, "SILENT", 0.05)

    async def test() -> GangEvent:
        hook = FakeHook(gang(limits=Limits(unreachable=0.3)))
        async with watching(hook) as ending:
            await until(lambda: hook.hosts["b"].is_followed)
            hook.hosts["b"].answers = False
            keep = asyncio.create_task(keep_reporting(hook.hosts["a"]))
            event = await ending
            keep.cancel()
        assert hook.stopped == ["try1"]
        return event

    event = play(test)
    assert event.reason == "b: not reachable for 0 s (limit unreachable)"
    assert (event.failed_host, event.failed_code) == ("b", None)


def test_of_two_silent_hosts_the_one_that_was_heard_last_is_not_blamed(monkeypatch):
    monkeypatch.setattr(host_watch, "SILENT", 0.05)

    async def test() -> GangEvent:
        hook = FakeHook(gang(limits=Limits(unreachable=0.6)))
        async with watching(hook) as ending:
            await until(lambda: hook.hosts["b"].is_followed)
            hook.hosts["b"].answers = False
            keep = asyncio.create_task(keep_reporting(hook.hosts["a"]))
            await asyncio.sleep(0.4)
            keep.cancel()
            hook.hosts["a"].answers = False
            return await ending

    event = play(test)
    assert event.reason == "b: not reachable for 1 s (limit unreachable)"
    assert event.failed_host == "b"


def test_a_limit_of_the_whole_gang_blames_no_host():
    async def test() -> GangEvent:
        hook = FakeHook(gang(limits=Limits(total=5)))
        async with watching(hook) as ending:
            hook.hosts["a"].report(started_at=time.time() - 6)
            return await ending

    event = play(test)
    assert event.reason == "not done after 5 s (limit total)"
    assert (event.failed_host, event.failed_code) == (None, None)
    assert event.tail == ""


def test_a_gang_that_succeeded_waits_for_its_records():
    async def test() -> None:
        hook = FakeHook(gang())
        recorder = MemoryRecorder()
        recorder.error = RecorderUnavailable("down")
        async with watching(hook, recorder) as ending:
            hook.hosts["a"].print("one\n")
            for host in hook.hosts.values():
                host.end(0)
            done, _ = await asyncio.wait({ending}, timeout=0.3)
            assert not done
            recorder.error = None
            assert (await ending).ok
        assert recorder.logs == {"a": b"one\n"}

    play(test)


def test_records_that_are_never_written_are_given_up_and_the_gang_has_succeeded(caplog):
    async def test() -> None:
        hook = FakeHook(gang(limits=Limits(records=0.2)))
        recorder = MemoryRecorder()
        recorder.error = RecorderUnavailable("down")
        async with watching(hook, recorder) as ending:
            hook.hosts["a"].print("one\n")
            for host in hook.hosts.values():
                host.end(0)
            assert (await ending).ok

    play(test)
    assert sum("given up: 0 s (limit records)" in message for message in caplog.messages) == 1


def test_a_full_queue_of_records_leaves_output_on_the_host_and_loses_none(monkeypatch):
    monkeypatch.setattr(watch, "CAPACITY", 100)

    async def test() -> None:
        hook = FakeHook(gang("a"))
        recorder = MemoryRecorder()
        recorder.error = RecorderUnavailable("down")
        async with watching(hook, recorder) as ending:
            host = hook.hosts["a"]
            host.print("x" * 199 + "\n")
            await until(lambda: host.queries)
            host.print("y" * 9999 + "\n")
            host.end(0)
            recorder.error = None
            assert (await ending).ok
        assert recorder.logs == {"a": host.output}

    play(test)


def test_a_failure_is_seen_while_the_queue_of_records_is_full(monkeypatch):
    monkeypatch.setattr(watch, "CAPACITY", 100)

    async def test() -> None:
        hook = FakeHook(gang("a"))
        recorder = MemoryRecorder()
        recorder.error = RecorderUnavailable("down")
        async with watching(hook, recorder) as ending:
            host = hook.hosts["a"]
            host.print("x" * 199 + "\n")
            await until(lambda: host.queries)
            host.end(3)
            await until(lambda: hook.stopped)
            recorder.error = None
            assert (await ending).reason == "a: exit code 3"

    play(test)


def test_a_watch_that_takes_over_knows_how_far_the_gang_was():
    async def test() -> None:
        hook = FakeHook(gang("a", progress_pattern=PATTERN))
        recorder = MemoryRecorder(previous=Progress(step=7, total=9, loss=0.5))
        async with watching(hook, recorder) as ending:
            hook.hosts["a"].end(0)
            event = await ending
        assert event.progress is not None
        assert event.progress.step == 7

    play(test)


def test_progress_is_recorded_once_for_each_step_that_any_host_reports():
    async def test() -> None:
        hook = FakeHook(gang(progress_pattern=PATTERN))
        recorder = MemoryRecorder()
        async with watching(hook, recorder) as ending:
            for host in hook.hosts.values():
                host.print("step 1/2\nstep 2/2\n")
                host.end(0)
            assert (await ending).ok
        assert recorder.steps == [1, 2]

    play(test)


def test_the_start_is_reported_once_with_the_launch_skew(caplog):
    async def test() -> GangEvent:
        hook = FakeHook(gang(ranks=1))
        now = time.time()
        hook.hosts["b"].clock_ahead = -3600
        for name, started_at in (("a", now), ("b", now - 3600 + 0.5)):
            host = hook.hosts[name]
            host.report(started_at=started_at, ranks_started=0)
        async with watching(hook) as ending:
            await until(lambda: all(host.is_followed for host in hook.hosts.values()))
            for host in hook.hosts.values():
                host.report(ranks_started=1)
            await until(lambda: any("every rank has started" in m for m in caplog.messages))
            for host in hook.hosts.values():
                host.end(0)
            return await ending

    event = play(test)
    assert event.launch_skew is not None
    assert abs(event.launch_skew - 0.5) < 0.2
    assert sum("every rank has started" in message for message in caplog.messages) == 1


def test_a_watch_whose_gang_was_taken_over_by_a_newer_attempt_ends_and_stops_nothing():
    """After a Clear, the new attempt may start before the old trigger is cancelled."""

    async def test() -> GangEvent:
        hook = FakeHook(gang())
        async with watching(hook) as ending:
            await until(lambda: hook.hosts["b"].is_followed)
            hook.hosts["b"].report(attempt="try2")
            event = await ending
        assert hook.stopped == []
        return event

    event = play(test)
    assert not event.ok
    assert event.reason == "b: attempt try2 has taken over /gangs/dag.task.run; this one is watched no longer"


def test_output_that_did_not_arrive_is_reported(monkeypatch, caplog):
    monkeypatch.setattr(host_watch, "DRAIN", 0.1)

    async def test() -> None:
        hook = FakeHook(gang("a"))
        async with watching(hook) as ending:
            host = hook.hosts["a"]
            host.print("one\n")
            host.report(alive=False, exit_status="0", ended_at=host.now, output_size=100)
            assert (await ending).ok

    play(test)
    assert (
        "[a] 96 of 100 bytes of its output did not arrive; they are in /gangs/dag.task.run/output there"
        in (caplog.messages)
    )


def test_cancelling_stops_nothing_and_closes_every_session():
    """As when a triggerer ends: another goes on."""

    async def test() -> None:
        hook = FakeHook(gang())
        async with watching(hook) as ending:
            await until(lambda: all(host.is_followed for host in hook.hosts.values()))
            ending.cancel()
            await asyncio.wait({ending})
            assert ending.cancelled()
        assert hook.stopped == []
        assert not any(host.is_followed for host in hook.hosts.values())

    play(test)


def test_a_mistake_of_the_recorder_ends_the_watch_and_leaves_the_gang_running():
    async def test() -> None:
        hook = FakeHook(gang())
        recorder = MemoryRecorder()
        recorder.error = KeyError("no such column")
        async with watching(hook, recorder) as ending:
            hook.hosts["a"].print("one\n")
            with pytest.raises(KeyError, match="no such column"):
                await ending
        assert hook.stopped == []

    play(test)
