"""Who is blamed for a gang's failure, and what its event says about it."""

from __future__ import annotations

import time

import pytest

from ssh_gang.errors import GangError
from ssh_gang.event import GangEvent
from tests.ssh_gang.fake_host import PATTERN, FakeHook, gang
from tests.ssh_gang.watched import (
    play,
    until,
    watching,
)

pytestmark = pytest.mark.usefixtures("short_pauses")


SUMMARY = """\
E1123 08:10:11.{fraction} 4711 torch/api.py:882] failed (exitcode: 7) local_rank: 1 (pid: 4720) of binary: x
Root Cause (first observed failure):
[0]:
  time      : 2026-11-23_08:10:11
  rank      : 3 (local_rank: 1)
  exitcode  : 7 (pid: 4720)
"""


def test_the_host_that_failed_first_is_blamed_though_another_reported_first():
    async def test() -> None:
        hook = FakeHook(gang())
        hook.hosts["b"].clock_ahead = 3600
        now = time.time()
        async with watching(hook) as ending:
            await until(lambda: all(host.is_followed for host in hook.hosts.values()))
            hook.hosts["a"].end(1, ended_at=now + 2)
            # An hour later by its own clock, a second earlier by all clocks compared.
            hook.hosts["b"].end(9, ended_at=now + 3601)
            event = await ending
        assert event.failed_host == "b"
        assert event.reason == "b: exit code 9, before all others"

    play(test)


def test_a_host_that_failed_by_itself_is_blamed_though_it_reported_after_the_stop(monkeypatch):
    """The first report stops the gang; an older failure arrives while that goes on."""

    async def test() -> None:
        hook = FakeHook(gang())
        now = time.time()

        async def stop(attempt):
            hook.hosts["b"].end(9, ended_at=now - 5)
            return await FakeHook.stop(hook, attempt)

        monkeypatch.setattr(hook, "stop", stop)
        async with watching(hook) as ending:
            hook.hosts["a"].end(1, ended_at=now)
            event = await ending
        assert event.failed_host == "b"

    play(test)


def test_a_host_that_is_lost_is_blamed_before_one_that_failed():
    """No rank elsewhere can have caused that."""

    async def test() -> None:
        hook = FakeHook(gang())
        async with watching(hook) as ending:
            await until(lambda: all(host.is_followed for host in hook.hosts.values()))
            hook.hosts["a"].end(1, ended_at=time.time() - 10)
            hook.hosts["b"].report(alive=False, rebooted=True)
            event = await ending
        assert event.failed_host == "b"
        assert event.reason == "b: lost: the host was restarted, before all others"

    play(test)


def test_the_rank_that_torchrun_names_is_blamed_with_its_own_last_lines():
    async def test() -> None:
        hook = FakeHook(gang("a", ranks=4))
        async with watching(hook) as ending:
            hook.hosts["a"].print("[rank 2]:fine\n[rank 3]:no memory\n" + SUMMARY.format(fraction=123456))
            hook.hosts["a"].end(1)
            event = await ending
        assert event.reason == "a rank 3: exit code 7"
        assert event.failed_rank == 3
        assert event.tail == "no memory"

    play(test)


def test_a_full_disk_is_named():
    async def test() -> GangEvent:
        hook = FakeHook(gang())
        hook.hosts["b"].space = "space=3 /work\nspace=100000 /gangs\n"
        async with watching(hook) as ending:
            hook.hosts["b"].end(1)
            return await ending

    assert play(test).reason.endswith("; its disk is full (3 MiB under /work free): delete old runs there")


def test_the_last_step_is_named_where_the_log_reports_progress():
    async def test() -> GangEvent:
        hook = FakeHook(gang(progress_pattern=PATTERN))
        async with watching(hook) as ending:
            hook.hosts["a"].print("step 3/9\n")
            hook.hosts["a"].end(1)
            return await ending

    event = play(test)
    assert event.reason == "a: exit code 1, before all others at iter 3/9"
    assert event.progress is not None
    assert event.progress.step == 3


def test_a_log_that_cannot_be_read_after_a_failure_is_no_second_error(monkeypatch):
    async def test() -> GangEvent:
        hook = FakeHook(gang())

        async def stop(attempt):
            hook.hosts["b"].is_reachable = False
            raise GangError("b: does not answer")

        monkeypatch.setattr(hook, "stop", stop)
        async with watching(hook) as ending:
            hook.hosts["b"].end(7)
            return await ending

    event = play(test)
    assert event.tail == "(its log cannot be read: b: does not answer)"
    assert event.reason.startswith("b: exit code 7, before all others; and not all could be stopped")


@pytest.mark.parametrize(
    "error",
    [
        "processes are left: 1 on a",
        "a: attempt try2 is newer; this one is overtaken, and stops nothing",
        "b: does not answer",
    ],
)
def test_what_could_not_be_stopped_is_part_of_the_reason(error):
    async def test() -> GangEvent:
        hook = FakeHook(gang())
        hook.stop_error = GangError(error)
        async with watching(hook) as ending:
            hook.hosts["a"].end(1)
            return await ending

    assert play(test).reason == (f"a: exit code 1, before all others; and not all could be stopped: {error}")
