"""Following one host: its output arrives once whatever breaks, its state is known, silence is noticed."""

from __future__ import annotations

import asyncio
import contextlib
import time

import pytest

from ssh_gang import host_watch
from ssh_gang.ranks import RankReport
from ssh_gang.recorder import RecorderUnavailable
from tests.ssh_gang.watched import (
    Followed,
    MemoryRecorder,
    play,
    until,
)

pytestmark = pytest.mark.usefixtures("short_pauses")


def test_output_is_forwarded_and_acknowledged(caplog):
    async def test() -> None:
        followed = Followed()
        async with followed.following():
            followed.host.print("one\ntwo\n")
            await followed.until_acknowledged()

    play(test)
    assert caplog.messages == ["[a] one", "[a] two"]


def test_output_is_acknowledged_only_when_it_is_recorded():
    async def test() -> None:
        recorder = MemoryRecorder(RecorderUnavailable("down"))
        followed = Followed(recorder)
        async with followed.following():
            followed.host.print("one\n")
            await until(lambda: recorder.tries > 2)
            assert followed.watch.output.forwarded == 4
            assert followed.host.acknowledged == 0
            recorder.error = None
            await followed.until_acknowledged()

    play(test)


def test_an_acknowledgement_that_the_host_did_not_answer_is_repeated():
    async def test() -> None:
        followed = Followed()
        followed.host.acknowledges = False
        async with followed.following():
            followed.host.print("one\n")
            await until(lambda: followed.host.requests.count(b"acknowledge 4") > 2)
            followed.host.acknowledges = True
            await followed.until_acknowledged()

    play(test)


def test_a_host_hears_that_it_is_followed_while_there_is_nothing_to_acknowledge(monkeypatch):
    monkeypatch.setattr(host_watch, "ALIVE_PAUSE", 0.01)

    async def test() -> None:
        followed = Followed()
        async with followed.following():
            await until(lambda: followed.host.requests.count(b"alive") > 2)

    play(test)


def test_a_session_that_broke_goes_on_at_the_acknowledged_byte_without_losing_or_repeating_a_line(caplog):
    async def test() -> None:
        recorder = MemoryRecorder()
        followed = Followed(recorder)
        async with followed.following():
            followed.host.print("one\n")
            await followed.until_acknowledged()
            followed.host.acknowledges = False
            followed.host.print("two\nthr")
            await until(lambda: followed.watch.output.recorded == 8)
            followed.host.break_off()
            followed.host.acknowledges = True
            followed.host.print("ee\nfour\n")
            await followed.until_acknowledged()
        assert followed.host.offsets == [0, 4]
        assert recorder.logs == {"a": followed.host.output}

    play(test)
    lines = [message for message in caplog.messages if message.startswith("[a] ")]
    assert [line for line in lines if "again" not in line] == ["[a] one", "[a] two", "[a] three", "[a] four"]


def test_a_watch_that_takes_over_begins_at_the_acknowledged_byte(caplog):
    async def test() -> None:
        followed = Followed()
        followed.host.print("one\ntwo\n")
        followed.host.acknowledged = 4
        async with followed.following():
            await followed.until_acknowledged()

    play(test)
    assert caplog.messages == ["[a] two"]


def test_a_host_that_cannot_be_reached_is_tried_again_and_reported_once(caplog):
    async def test() -> None:
        followed = Followed()
        followed.host.is_reachable = False
        async with followed.following():
            await until(lambda: caplog.messages)
            await asyncio.sleep(0.1)
            followed.host.is_reachable = True
            followed.host.print("one\n")
            await followed.until_acknowledged()

    play(test)
    trouble = "a: does not answer; its ranks go on, and it is tried again for 600 s (limit unreachable)"
    assert caplog.messages == [trouble, "[a] answers again", "[a] one"]


def test_a_session_that_ends_without_an_error_is_opened_again():
    """As when the host's `tail` was killed."""

    async def test() -> None:
        followed = Followed()
        async with followed.following():
            await until(lambda: followed.watch.state)
            followed.host.hang_up()
            followed.host.print("one\n")
            await followed.until_acknowledged()
        assert len(followed.host.offsets) == 2

    play(test)


def test_a_malformed_line_ends_the_session_and_the_next_one_goes_on(caplog):
    async def test() -> None:
        followed = Followed()
        async with followed.following():
            await until(lambda: followed.watch.state)
            followed.host.send("acknowledged=many")
            await until(lambda: len(followed.host.offsets) == 2)
            followed.host.print("one\n")
            await followed.until_acknowledged()

    play(test)
    assert "malformed line from the host" in caplog.messages[0]


def test_what_a_login_script_prints_on_stderr_is_ignored():
    async def test() -> None:
        followed = Followed()
        async with followed.following():
            followed.host.send("bash: warning: setlocale: LC_ALL: cannot change locale")
            followed.host.print("one\n")
            await followed.until_acknowledged()
        assert followed.host.offsets == [0]

    play(test)


def test_a_host_that_says_nothing_is_silent_until_it_answers_again(monkeypatch, caplog):
    monkeypatch.setattr(host_watch, "SILENT", 0.05)

    async def test() -> None:
        followed = Followed()
        async with followed.following():
            await until(lambda: followed.watch.state)
            followed.host.answers = False
            await until(lambda: followed.watch.is_silent)
            assert followed.watch.status == "silent"
            followed.watch.warn_of_silence()
            followed.host.answers = True
            followed.host.report()
            await until(lambda: not followed.watch.is_silent)
            assert followed.watch.status == "running"

    play(test)
    assert caplog.messages[0].startswith("[a] has not answered for 0 s; its ranks go on")
    assert caplog.messages[1] == "[a] answers again"


def test_the_hosts_clock_is_compared():
    async def test() -> None:
        followed = Followed()
        followed.host.clock_ahead = -3600
        followed.host.state = followed.host.state.__class__(
            presence="present", attempt="try1", alive=True, started_at=time.time() - 3600
        )
        async with followed.following():
            await until(lambda: followed.watch.clock.is_known)
        started_at = followed.watch.started_at()
        assert started_at is not None
        assert abs(started_at - time.time()) < 5

    play(test)


def test_a_time_that_was_not_asked_for_is_ignored():
    async def test() -> None:
        followed = Followed()
        async with followed.following():
            await until(lambda: followed.watch.clock.is_known)
            error = followed.watch.clock.error
            followed.host.send("clock=1")
            followed.host.print("one\n")
            await followed.until_acknowledged()
            assert followed.watch.clock.error == error
        assert followed.host.offsets == [0]

    play(test)


def test_output_stays_on_the_host_while_the_queue_is_full_and_the_state_is_still_known(caplog):
    async def test() -> None:
        recorder = MemoryRecorder(RecorderUnavailable("down"))
        followed = Followed(recorder, capacity=100)
        async with followed.following():
            followed.host.print("x" * 199 + "\n")
            await until(lambda: followed.host.queries)
            assert not followed.host.is_followed
            followed.host.print("y" * 999 + "\n")
            followed.host.end(0)
            await until(lambda: followed.watch.has_succeeded)
            assert followed.watch.output.received == 200
            assert not followed.watch.is_done
            recorder.error = None
            await until(lambda: followed.watch.is_done)
        assert recorder.logs == {"a": followed.host.output}

    play(test)


def test_the_time_without_progress_is_not_counted_while_the_log_cannot_be_read():
    async def test() -> None:
        recorder = MemoryRecorder(RecorderUnavailable("down"))
        followed = Followed(recorder, capacity=100)
        async with followed.following():
            followed.host.print("x" * 199 + "\n")
            await until(lambda: followed.host.queries)
            followed.progress._moved_at -= 1000
            await until(lambda: followed.progress.seconds_since_last < 10)

    play(test)


def test_a_host_that_cannot_be_queried_while_the_queue_is_full_is_tried_again():
    async def test() -> None:
        recorder = MemoryRecorder(RecorderUnavailable("down"))
        followed = Followed(recorder, capacity=100)
        async with followed.following():
            followed.host.print("x" * 199 + "\n")
            await until(lambda: followed.host.queries)
            followed.host.is_reachable = False
            recorder.error = None
            await until(lambda: followed.writer.is_drained)
            followed.host.is_reachable = True
            await followed.until_acknowledged()

    play(test)


def test_samples_of_gpus_are_recorded_unless_the_tool_failed():
    async def test() -> None:
        recorder = MemoryRecorder()
        followed = Followed(recorder)
        header = "index, utilization.gpu [%], memory.used [MiB], memory.total [MiB]"
        async with followed.following():
            await until(lambda: followed.watch.state)
            followed.host.send("gpu=NVIDIA-SMI has failed")
            followed.host.send(f"gpu={header}|0, 7 %, 806 MiB, 49140 MiB")
            await until(lambda: recorder.samples)
        assert recorder.samples == ["gpu0 7 % 806/49140 MiB"]

    play(test)


def test_reports_of_ranks_are_recorded_once_and_by_this_machines_clock():
    recorder = MemoryRecorder()

    async def test() -> None:
        followed = Followed(recorder, ranks=2)
        followed.host.clock_ahead = 3600
        async with followed.following():
            await until(lambda: followed.watch.clock.is_known)
            now = time.time()
            for step in (1, 1, 2):
                followed.host.send(f"ranks=0 step={step} at={now + 3600}|1 step=1 at={now + 3600}")
            await until(lambda: len(recorder.reports) == 3)
        assert [(report.rank, report.step) for report in recorder.reports] == [(0, 1), (1, 1), (0, 2)]
        assert recorder.reports[0].at == pytest.approx(now, abs=0.5)

    play(test)


def test_reports_of_ranks_are_given_up_while_the_queue_is_full():
    recorder = MemoryRecorder(RecorderUnavailable("down"))

    async def test() -> None:
        followed = Followed(recorder, capacity=1)
        async with followed.following():
            followed.host.print("one\n")
            await until(lambda: followed.writer.is_full and followed.watch.clock.is_known)
            followed.watch._record_ranks([RankReport(rank=0, step=1, at=1.0)])
            recorder.error = None
            await until(lambda: followed.writer.is_drained)
        assert recorder.reports == []

    play(test)


def test_an_attempt_that_has_taken_the_folder_over_is_noticed_and_its_state_is_not_taken_for_this_ones():
    async def test() -> None:
        followed = Followed()
        async with followed.following():
            await until(lambda: followed.watch.state)
            followed.host.report(attempt="try2", exit_status="0")
            await until(lambda: followed.watch.newer_attempt)
            assert followed.watch.newer_attempt == "try2"
            assert not followed.watch.has_succeeded

    play(test)


def test_cancelling_closes_the_session():
    async def test() -> None:
        followed = Followed()
        async with followed.following() as following:
            await until(lambda: followed.watch.state)
            assert followed.host.is_followed
            following.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await following
            assert not followed.host.is_followed

    play(test)


def test_a_mistake_in_this_code_ends_the_watch_instead_of_being_tried_again(monkeypatch):
    async def test() -> None:
        followed = Followed()

        def broken(data: bytes, final: bool = False) -> None:
            raise KeyError("bug")

        monkeypatch.setattr(followed.watch.output, "take", broken)
        async with followed.following() as following:
            followed.host.print("one\n")
            with pytest.raises(KeyError, match="bug"):
                await following

    play(test)
