"""Where the output of one host stands: received, forwarded, recorded, acknowledged."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ssh_gang.log import LineBuffer, LogFilter, TaskLog

if TYPE_CHECKING:
    from collections.abc import Callable

    from ssh_gang.progress import CheckpointFinder, ProgressTracker


class HostOutput:
    """Forwards a host's output to the task's log and to the recorder, line by line.

    Positions are byte offsets in the host's log. After a reconnect, output from the acknowledged position on
    comes again: what was forwarded before is skipped.

    Args:
        log: The task's log.
        log_filter: Chooses what of the output is shown there.
        progress: Reads the progress that lines report.
        record: Records whole lines, called with their offset and bytes; must lead to `note_recorded`.
        checkpoints: Finds the checkpoints that lines report.
    """

    def __init__(
        self,
        log: TaskLog,
        log_filter: LogFilter,
        progress: ProgressTracker,
        record: Callable[[int, bytes], None],
        checkpoints: CheckpointFinder | None = None,
    ) -> None:
        self._log = log
        self._filter = log_filter
        self._progress = progress
        self._record = record
        self._checkpoints = checkpoints
        self._lines = LineBuffer()
        self._unforwarded = b""
        self.received = 0
        """Position up to which output was received."""
        self.forwarded = 0
        """Position up to which whole lines are in the task's log."""
        self.recorded = 0
        """Position up to which the recorder has stored it: the host need not send it again."""
        self.acknowledged = 0
        """Position up to which the host knows that it need not send the output again."""

    @property
    def must_acknowledge(self) -> bool:
        """Whether the host does not know yet how much has been forwarded and recorded."""
        return self.recorded > self.acknowledged

    def restart(self, offset: int) -> None:
        """Note that the host sends its output from an offset on: a session has begun."""
        self.received = self.acknowledged = offset
        self.forwarded = max(self.forwarded, offset)
        self.recorded = max(self.recorded, offset)
        self._lines = LineBuffer()
        self._unforwarded = b""

    def take(self, data: bytes, final: bool = False) -> None:
        """Forward what the host has sent.

        Args:
            data: The next bytes.
            final: Whether no more will come: the last line may have no end.
        """
        skipped = min(max(self.forwarded - self.received, 0), len(data))
        self.received += len(data)
        fresh = data[skipped:]
        lines = self._lines.feed(fresh, final)
        self._unforwarded += fresh
        self._forward(lines)

    def note_recorded(self, end: int) -> None:
        """Note that the recorder has stored the output up to a position."""
        self.recorded = max(self.recorded, end)

    def log_summary(self) -> None:
        """Log how much of the output was not shown."""
        for line in self._filter.summary():
            self._log.info("%s", line)

    @property
    def first_error(self) -> str | None:
        """The first line that looks like an error, with host and rank."""
        return self._filter.first_error

    def _forward(self, lines: list[str]) -> None:
        whole = len(self._unforwarded) - self._lines.held_bytes
        if not whole:
            return
        # Progress is recorded before the lines that report it: what is acknowledged is recorded in full.
        reporting = self._progress.read(lines)
        if self._checkpoints:
            self._checkpoints.read(lines)
        for entry in self._filter.filter(lines, reporting):
            self._log.info("%s", entry)
        offset, data = self.forwarded, self._unforwarded[:whole]
        self._unforwarded = self._unforwarded[whole:]
        self.forwarded += whole
        self._record(offset, data)
