"""The moments of a gang's life that a watch records."""

from __future__ import annotations

import time

import pytest

from ssh_gang import watch
from ssh_gang.errors import GangError
from ssh_gang.milestone import Milestone
from ssh_gang.progress import Progress
from ssh_gang.recorder import RecorderUnavailable
from tests.ssh_gang.fake_host import PATTERN, FakeHook, gang
from tests.ssh_gang.watched import MemoryRecorder, play, until, watching

pytestmark = pytest.mark.usefixtures("short_pauses")


def kinds(recorder: MemoryRecorder) -> list[str]:
    return [milestone.kind for milestone in recorder.milestones]


def test_those_of_a_gang_that_succeeds_come_after_those_of_its_launch():
    recorder = MemoryRecorder()
    launched = [Milestone(kind="submitted", at=1.0), Milestone(kind="started", at=2.0)]

    async def test() -> None:
        hook = FakeHook(gang())
        async with watching(hook, recorder, launched) as ending:
            await until(lambda: "ranks_started" in kinds(recorder))
            for host in hook.hosts.values():
                host.end(0)
            event = await ending
        assert recorder["ended"].end == event

    play(test)
    assert kinds(recorder) == ["submitted", "started", "ranks_started", "ended"]


def test_the_start_of_every_rank_has_the_launch_skew_and_its_error():
    recorder = MemoryRecorder()

    async def test() -> None:
        hook = FakeHook(gang())
        hook.hosts["b"].clock_ahead = 3600
        started_at = hook.hosts["a"].state.started_at
        hook.hosts["b"].report(started_at=started_at + 3600.25)
        async with watching(hook, recorder):
            await until(lambda: "ranks_started" in kinds(recorder))

    play(test)
    skew = recorder["ranks_started"]
    assert skew.launch_skew == pytest.approx(0.25, abs=0.05)
    assert 0 < skew.launch_skew_error < 0.05


def test_those_of_a_gang_that_fails_say_why_it_was_stopped_and_how_it_ended():
    recorder = MemoryRecorder()

    async def test() -> None:
        hook = FakeHook(gang())
        async with watching(hook, recorder) as ending:
            hook.hosts["b"].print("ValueError: no such layer\n")
            hook.hosts["b"].end(7)
            event = await ending
        assert recorder["ended"].end == event

    play(test)
    assert kinds(recorder)[-3:] == ["stopping", "stopped", "ended"]
    assert recorder["stopping"].reason == "b: exit code 7"
    assert recorder["stopped"].reason == ""
    end = recorder["ended"].end
    assert (end.failed_host, end.failed_exit, end.tail) == ("b", "exit code 7", "ValueError: no such layer")
    assert end.failed_code == 7


def test_a_stop_that_left_a_process_says_so():
    recorder = MemoryRecorder()

    async def test() -> None:
        hook = FakeHook(gang())
        hook.stop_error = GangError("processes are left: 1 on a")
        async with watching(hook, recorder) as ending:
            hook.hosts["b"].end(7)
            await ending

    play(test)
    assert recorder["stopped"].reason == "not all could be stopped: processes are left: 1 on a"
    # A host that cannot be reached may be why the ranks of the other one ended.
    assert recorder["ended"].end.failed_code is None


def test_the_end_is_when_the_last_job_ended_by_this_machines_clock():
    recorder, now = MemoryRecorder(), time.time()

    async def test() -> None:
        hook = FakeHook(gang())
        hook.hosts["b"].clock_ahead = 3600
        async with watching(hook, recorder) as ending:
            await until(lambda: "ranks_started" in kinds(recorder))
            hook.hosts["a"].end(0, ended_at=now - 50)
            hook.hosts["b"].end(0, ended_at=now + 3600 - 20)
            await ending

    play(test)
    assert recorder["ended"].at == pytest.approx(now - 20, abs=0.5)


def test_a_checkpoint_is_recorded_with_its_host_and_step():
    recorder = MemoryRecorder()

    async def test() -> None:
        hook = FakeHook(gang(checkpoint_pattern=r"saved (?P<step>\d+)"))
        async with watching(hook, recorder):
            hook.hosts["b"].print("saved 20\n")
            await until(lambda: "checkpoint" in kinds(recorder))

    play(test)
    assert recorder["checkpoint"].key == ("checkpoint", "b", 20)


def test_a_watch_that_takes_over_says_at_which_step():
    recorder = MemoryRecorder(previous=Progress(step=7, total=10))

    async def test() -> None:
        hook = FakeHook(gang(progress_pattern=PATTERN))
        async with watching(hook, recorder):
            await until(lambda: "taken_over" in kinds(recorder))

    play(test)
    assert recorder["taken_over"].number == 7


def test_those_that_waited_for_the_recorder_are_written_late_but_with_their_own_time():
    recorder = MemoryRecorder(RecorderUnavailable("down"))

    async def test() -> None:
        hook = FakeHook(gang())
        async with watching(hook, recorder, [Milestone(kind="started", at=2.0)]) as ending:
            for host in hook.hosts.values():
                host.end(0)
            await until(lambda: recorder.tries > 2)
            assert not ending.done()
            recorder.error = None
            await ending

    play(test)
    assert kinds(recorder) == ["started", "ranks_started", "ended"]
    assert recorder["started"].at == 2.0


def test_the_last_lines_that_are_recorded_are_bounded(monkeypatch):
    monkeypatch.setattr(watch, "RECORDED_TAIL", 5)
    recorder = MemoryRecorder()

    async def test() -> None:
        hook = FakeHook(gang())
        async with watching(hook, recorder) as ending:
            hook.hosts["a"].print("a long line\n")
            hook.hosts["a"].end(7)
            assert (await ending).tail == "a long line"

    play(test)
    assert recorder["ended"].end.tail == " line"
