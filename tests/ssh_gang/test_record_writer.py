"""Records are written in order, once, and late rather than never."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading

import pytest

from ssh_gang import record_writer
from ssh_gang.progress import Progress
from ssh_gang.record_writer import NUMBERS, RecordWriter
from ssh_gang.recorder import RecorderUnavailable
from tests.waiting import until

LOG = logging.getLogger("test")


class MemoryRecorder:
    """Keeps everything in memory, and raises `error` for as long as it is set."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.tries = 0
        self.calls: list[tuple] = []

    def _keep(self, *call) -> None:
        self.tries += 1
        if self.error:
            raise self.error
        self.calls.append(call)

    def progress(self, attempt, at, progress):
        self._keep("progress", progress.step)

    def output(self, attempt, host, offset, data):
        self._keep("output", host, offset, data)

    def text(self, host: str) -> bytes:
        """The log of a host; an assertion fails where a byte is missing or there twice."""
        text = b""
        for _, _, offset, data in (call for call in self.calls if call[:2] == ("output", host)):
            assert offset == len(text)
            text += data
        return text


@contextlib.asynccontextmanager
async def running(recorder, **arguments):
    """A writer at work, with pauses that a test can wait for."""
    writer = RecordWriter(recorder, LOG, **{"longest_pause": 0.01} | arguments)
    task = asyncio.create_task(writer.run())
    try:
        yield writer
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def put_step(writer: RecordWriter, step: int) -> None:
    writer.put(lambda recorder: recorder.progress("try1", 0.0, Progress(step=step, total=9)))


def put_output(writer: RecordWriter, host: str, pieces: list[bytes], recorded=lambda end: None) -> None:
    offset = 0
    for piece in pieces:
        writer.put_output("try1", host, offset, piece, recorded)
        offset += len(piece)


def test_put_output_is_recorded_in_order_and_reports_its_end():
    async def go():
        recorder, ends = MemoryRecorder(), []
        async with running(recorder) as writer:
            put_output(writer, "a", [b"one\n", b"two\n"], ends.append)
            await until(lambda: writer.is_drained)
        assert recorder.text("a") == b"one\ntwo\n"
        assert ends[-1] == 8

    asyncio.run(go())


def test_put_without_a_recorder_counts_as_written_at_once():
    async def go():
        ends = []
        writer = RecordWriter(None, LOG)
        put_step(writer, 1)
        put_output(writer, "a", [b"one\n"], ends.append)
        assert ends == [4]
        assert writer.is_drained

    asyncio.run(go())


@pytest.mark.parametrize("error", [RecorderUnavailable("down"), OSError("disk full")])
def test_everything_is_there_once_after_an_outage(error, caplog):
    caplog.set_level(logging.INFO)

    async def go():
        recorder = MemoryRecorder(error)
        async with running(recorder) as writer:
            for step in (1, 2, 3):
                put_step(writer, step)
            put_output(writer, "a", [b"one\n", b"two\n"])
            put_output(writer, "b", [b"uno\n"])
            await until(lambda: recorder.tries > 3)
            assert not writer.is_drained
            recorder.error = None
            await until(lambda: writer.is_drained)
        assert [call[1] for call in recorder.calls if call[0] == "progress"] == [1, 2, 3]
        assert recorder.text("a") == b"one\ntwo\n"
        assert recorder.text("b") == b"uno\n"

    asyncio.run(go())
    assert sum("records cannot be written" in m for m in caplog.messages) == 1
    assert [m for m in caplog.messages if "can be written again: 5 of them" in m]


def test_output_is_not_reported_as_recorded_during_an_outage():
    async def go():
        recorder, ends = MemoryRecorder(RecorderUnavailable("down")), []
        async with running(recorder) as writer:
            put_output(writer, "a", [b"one\n"], ends.append)
            await until(lambda: recorder.tries > 2)
            assert ends == []
            recorder.error = None
            await until(lambda: ends == [4])

    asyncio.run(go())


def test_numbers_are_written_before_output_that_was_put_in_after_them():
    async def go():
        recorder = MemoryRecorder(RecorderUnavailable("down"))
        async with running(recorder) as writer:
            put_output(writer, "a", [b"one\n"])
            await until(lambda: recorder.tries > 0)
            writer.put_output("try1", "a", 4, b"two\n", lambda end: None)
            put_step(writer, 1)
            writer.put_output("try1", "a", 8, b"three\n", lambda end: None)
            recorder.error = None
            await until(lambda: writer.is_drained)
        kinds = [call[0] for call in recorder.calls]
        assert kinds == ["output", "progress", "output"]
        assert recorder.text("a") == b"one\ntwo\nthree\n"

    asyncio.run(go())


def test_output_that_waits_is_joined_up_to_a_batch(monkeypatch):
    monkeypatch.setattr(record_writer, "BATCH", 8)

    async def go():
        recorder = MemoryRecorder()
        writer = RecordWriter(recorder, LOG)
        put_output(writer, "a", [b"1234"] * 5)
        task = asyncio.create_task(writer.run())
        await until(lambda: writer.is_drained)
        task.cancel()
        assert [len(data) for _, _, _, data in recorder.calls] == [8, 8, 4]
        assert recorder.text("a") == b"1234" * 5

    asyncio.run(go())


def test_is_full_says_when_to_stop_reading_and_has_room_when_to_go_on():
    async def go():
        recorder = MemoryRecorder(RecorderUnavailable("down"))
        async with running(recorder, capacity=8) as writer:
            put_output(writer, "a", [b"1234"])
            assert not writer.is_full
            writer.put_output("try1", "a", 4, b"5678", lambda end: None)
            assert writer.is_full
            assert not writer.has_room
            recorder.error = None
            await until(lambda: writer.is_drained)
            assert writer.has_room

    asyncio.run(go())


def test_numbers_fill_the_queue_too():
    """A training that prints little and steps often would fill the memory in an outage of days."""
    writer = RecordWriter(MemoryRecorder(), LOG, capacity=10 * NUMBERS)
    for step in range(9):
        put_step(writer, step)
    assert not writer.is_full
    put_step(writer, 10)
    assert writer.is_full


def test_numbers_that_were_written_leave_room():
    async def go():
        async with running(MemoryRecorder(), capacity=NUMBERS) as writer:
            put_step(writer, 1)
            await until(lambda: writer.is_drained)
            assert writer.has_room

    asyncio.run(go())


def test_an_outage_is_reported_with_the_bytes_of_log_that_were_late(caplog):
    caplog.set_level(logging.INFO)

    async def go():
        recorder = MemoryRecorder(RecorderUnavailable("down"))
        async with running(recorder) as writer:
            put_step(writer, 1)
            put_output(writer, "a", [b"x" * 2_000_000])
            await until(lambda: recorder.tries > 0)
            recorder.error = None
            await until(lambda: writer.is_drained)

    asyncio.run(go())
    assert any("2 of them, with 2.0 MB of log" in m for m in caplog.messages)


def test_a_recorder_that_hangs_does_not_block_the_event_loop(caplog, monkeypatch):
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(record_writer, "SLOW", 0.02)
    release = threading.Event()

    class Hanging(MemoryRecorder):
        def output(self, *call):
            release.wait(10)
            super().output(*call)

    async def go():
        recorder = Hanging()
        async with running(recorder) as writer:
            put_output(writer, "a", [b"one\n"])
            await until(lambda: any("no answer for" in m for m in caplog.messages))
            release.set()
            await until(lambda: writer.is_drained)
        assert recorder.text("a") == b"one\n"

    asyncio.run(go())


def test_abandon_drops_what_waits_and_lets_the_output_be_acknowledged(caplog):
    async def go():
        recorder, ends = MemoryRecorder(RecorderUnavailable("down")), []
        async with running(recorder) as writer:
            put_step(writer, 1)
            put_output(writer, "a", [b"one\n"], ends.append)
            await until(lambda: recorder.tries > 0)
            writer.abandon("1 s (limit records) after the gang's end")
            await until(lambda: writer.is_drained)
            assert ends == [4]
            writer.put_output("try1", "a", 4, b"two\n", ends.append)
            assert ends == [4, 8]
        assert recorder.calls == []

    asyncio.run(go())
    assert any("given up: 1 s (limit records)" in m for m in caplog.messages)


def test_a_mistake_in_a_recorder_is_raised_not_retried():
    async def go():
        writer = RecordWriter(MemoryRecorder(KeyError("no such column")), LOG)
        put_step(writer, 1)
        with pytest.raises(KeyError):
            await writer.run()

    asyncio.run(go())
