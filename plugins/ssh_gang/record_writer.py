"""Writes a gang's records off the event loop, in order, and again while the recorder does not answer."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from ssh_gang.log import TaskLog
from ssh_gang.recorder import GangRecorder, RecorderUnavailable

CAPACITY = 64 * 1024 * 1024
"""Bytes that may wait to be written; more output stays on the hosts."""

NUMBERS = 4096
"""Bytes that the numbers of one step take in memory, or the samples of one host's GPUs, about."""

BATCH = 1024 * 1024
"""Bytes of one host's output that are written in one piece, about."""

FIRST_PAUSE = 0.5
"""Seconds before a failed write is tried again; each further pause is twice as long."""

LONGEST_PAUSE = 30.0
"""Seconds between two tries, at most."""

SLOW = 60.0
"""Seconds after which a write that has not returned is reported like one that failed."""


@dataclass(frozen=True)
class _Write:
    """A call of the recorder, and what to do once it has succeeded."""

    call: Callable[[GangRecorder], None]
    size: int = 0
    """Bytes of output in it."""
    memory: int = NUMBERS
    """Bytes that it takes while it waits."""
    done: Callable[[], None] = lambda: None


@dataclass(frozen=True)
class _Output:
    """A piece of a host's output."""

    attempt: str
    host: str
    offset: int
    end: int
    """Position after its last byte."""
    data: bytes
    """What of it is kept: less than all of it, or nothing, beyond the limit."""
    recorded: Callable[[int], None]

    def as_write(self) -> _Write:
        def write(recorder: GangRecorder) -> None:
            if self.data:
                recorder.output(self.attempt, self.host, self.offset, self.data)

        size = len(self.data)
        return _Write(write, size=size, memory=size, done=lambda: self.recorded(self.end))


@dataclass
class _Outage:
    """A time in which the recorder does not answer, and what was written late because of it."""

    began: float = field(default_factory=time.monotonic)
    records: int = 0
    size: int = 0


class RecordWriter:
    """A queue in front of a recorder.

    Putting something in never blocks. The caller looks at `is_full` before it reads more from a host: what
    does not fit stays there. Numbers count too: however little a training prints, in days they are many. One
    thread of its own calls the recorder, so that a recorder that hangs holds up nothing else. Output is
    written after the numbers that were put in before it: once a host's output is recorded, so is the progress
    that was read from it.

    Args:
        recorder: What is written to; None counts everything as written at once.
        log: Where an outage is reported, once when it is noticed and once when it is over.
        written: Called after each write that succeeded.
        capacity: Bytes that may wait.
        longest_pause: Seconds between two tries, at most.
        output_limit: Bytes of each host's output that are written; what follows counts as written.
    """

    def __init__(
        self,
        recorder: GangRecorder | None,
        log: TaskLog,
        written: Callable[[], None] = lambda: None,
        capacity: int = CAPACITY,
        longest_pause: float = LONGEST_PAUSE,
        output_limit: int | None = None,
    ) -> None:
        self._output_limit = output_limit
        self._recorder = recorder
        self._log = log
        self._written = written
        self._capacity = capacity
        self._longest_pause = longest_pause
        self._numbers: deque[_Write] = deque()
        self._outputs: dict[str, deque[_Output]] = {}
        self._current: _Write | None = None
        self._waiting_bytes = 0
        self._filled = asyncio.Event()
        self._abandoned = asyncio.Event()
        self._outage: _Outage | None = None

    @property
    def is_recording(self) -> bool:
        """Whether there is a recorder, and its records were not given up."""
        return self._recorder is not None and not self._abandoned.is_set()

    @property
    def is_full(self) -> bool:
        """Whether no more output should be read from the hosts."""
        return self._waiting_bytes >= self._capacity

    @property
    def has_room(self) -> bool:
        """Whether reading may start again: half of what may wait has been written."""
        return self._waiting_bytes <= self._capacity // 2

    @property
    def is_drained(self) -> bool:
        """Whether everything that was put in has been written."""
        return self._current is None and not self._numbers and not self._outputs

    def put(self, call: Callable[[GangRecorder], None]) -> None:
        """Write numbers: `call` is called with the recorder, in a thread."""
        if self.is_recording:
            write = _Write(call)
            self._numbers.append(write)
            self._waiting_bytes += write.memory
            self._filled.set()

    def put_output(
        self, attempt: str, host: str, offset: int, data: bytes, recorded: Callable[[int], None]
    ) -> None:
        """Write a piece of a host's output.

        Args:
            attempt: The attempt that printed it.
            host: Name of the host.
            offset: Position of the first byte in the host's log.
            data: The bytes.
            recorded: Called in the event loop once they are recorded, with the position after the last one.
        """
        end = offset + len(data)
        if not self.is_recording:
            recorded(end)
            return
        kept = self._within_limit(host, offset, data)
        self._outputs.setdefault(host, deque()).append(_Output(attempt, host, offset, end, kept, recorded))
        self._waiting_bytes += len(kept)
        self._filled.set()

    async def run(self) -> None:
        """Write what is put in, until cancelled."""
        thread = ThreadPoolExecutor(1, thread_name_prefix="gang-recorder")
        try:
            while True:
                await self._filled.wait()
                self._current = self._next()
                if self._current is None:
                    self._end_outage()
                    self._filled.clear()
                    continue
                await self._write(thread, self._current)
                self._finish(self._current)
        finally:
            thread.shutdown(wait=False, cancel_futures=True)

    def abandon(self, reason: str) -> None:
        """Drop what waits, and record nothing from now on."""
        self._abandoned.set()
        pieces = [piece for pieces in self._outputs.values() for piece in pieces]
        dropped = len(self._numbers) + len(pieces) + (self._current is not None)
        self._log.error(
            "%d records of this gang, with %.1f MB of its log, are not written and given up: %s",
            dropped,
            sum(len(piece.data) for piece in pieces) / 1e6,
            reason,
        )
        self._numbers.clear()
        self._outputs.clear()
        self._waiting_bytes = 0
        for piece in pieces:
            piece.recorded(piece.end)

    def _within_limit(self, host: str, offset: int, data: bytes) -> bytes:
        """What of a piece is kept. The piece in which the limit lies is logged: there is one on each host."""
        limit = self._output_limit
        if limit is None or offset + len(data) <= limit:
            return data
        if offset <= limit:
            self._log.warning(
                "[%s] more than %.3g GiB of output: what follows is not recorded (limit max_log_gib)",
                host,
                limit / 2**30,
            )
        return data[: max(limit - offset, 0)]

    def _next(self) -> _Write | None:
        """Numbers first, then the hosts' output in turn."""
        if self._numbers:
            return self._numbers.popleft()
        if not self._outputs:
            return None
        host = next(iter(self._outputs))
        pieces = self._outputs.pop(host)
        piece = _joined(pieces)
        if pieces:
            self._outputs[host] = pieces
        return piece.as_write()

    async def _write(self, thread: ThreadPoolExecutor, write: _Write) -> None:
        """Call the recorder until it succeeds, or its records are abandoned."""
        pause = FIRST_PAUSE
        while self._recorder is not None and not self._abandoned.is_set():
            try:
                await self._call(thread, write.call, self._recorder)
            except (OSError, RecorderUnavailable) as e:
                self._begin_outage(str(e) or type(e).__name__)
                await self._pause(min(pause, self._longest_pause))
                pause *= 2
            else:
                return

    async def _call(
        self, thread: ThreadPoolExecutor, call: Callable[[GangRecorder], None], recorder: GangRecorder
    ) -> None:
        writing = asyncio.get_running_loop().run_in_executor(thread, call, recorder)
        abandoned = asyncio.ensure_future(self._abandoned.wait())
        try:
            waited_for: set[asyncio.Future[Any]] = {writing, abandoned}
            done, _ = await asyncio.wait(waited_for, timeout=SLOW, return_when=asyncio.FIRST_COMPLETED)
            if not done:
                self._begin_outage(f"no answer for {SLOW:.0f} s")
                await asyncio.wait(waited_for, return_when=asyncio.FIRST_COMPLETED)
            if writing.done():
                writing.result()
        finally:
            abandoned.cancel()

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._abandoned.wait()

    def _finish(self, write: _Write) -> None:
        self._current = None
        if not self._abandoned.is_set():
            self._waiting_bytes -= write.memory
        if self._outage:
            self._outage.records += 1
            self._outage.size += write.size
        write.done()
        self._written()

    def _begin_outage(self, reason: str) -> None:
        if self._outage is None:
            self._outage = _Outage()
            self._log.warning(
                "records cannot be written (%s): the gang goes on, and they are kept in memory, and its log "
                "beyond %.0f MB on the hosts, until they can",
                reason,
                self._capacity / 1e6,
            )

    def _end_outage(self) -> None:
        if self._outage and not self._abandoned.is_set():
            self._log.info(
                "records can be written again: %d of them, with %.1f MB of log, were up to %.0f s late",
                self._outage.records,
                self._outage.size / 1e6,
                time.monotonic() - self._outage.began,
            )
        self._outage = None


def _joined(pieces: deque[_Output]) -> _Output:
    """Take adjacent pieces from the front and join them, up to a batch."""
    taken = [pieces.popleft()]
    size = len(taken[0].data)
    while pieces and pieces[0].offset == taken[-1].end and size < BATCH:
        size += len(pieces[0].data)
        taken.append(pieces.popleft())
    last = taken[-1]
    data = b"".join(piece.data for piece in taken)
    return _Output(last.attempt, last.host, taken[0].offset, last.end, data, last.recorded)
