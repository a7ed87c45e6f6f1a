"""The trial of this moment, and the count of what its two models do."""

from __future__ import annotations

import asyncio
import time
import traceback
from pathlib import Path

from door.metrics import Metrics
from door.trial_files import FILE, Arm, Counts, Trial, read_counts, read_trial

FAILURES, PAUSE = 10, 30.0
"""Failures in a row after which the candidate is left alone, and for how many seconds."""
SAVE_AFTER = 0.5
"""Seconds after which a count is in its file."""


class Tally:
    """Follows a host's trial, and counts.

    Args:
        folder: Folder of the model servers.
        metrics: Counts what the models did.
    """

    def __init__(self, folder: Path, metrics: Metrics) -> None:
        self._folder, self._metrics = folder, metrics
        self._read_at = (-1, -1)
        self._trial: Trial | None = None
        self.counts = Counts(0)
        """Of the trial that was read last."""
        self._saving: asyncio.TimerHandle | None = None
        self._failures, self._paused_until = 0, 0.0

    def current(self) -> Trial | None:
        """The trial of this moment; the file is read again when it was written."""
        try:
            stat = (self._folder / FILE).stat()
        except OSError:
            return None
        if (stat.st_mtime_ns, stat.st_ino) != self._read_at:
            self._read_at = stat.st_mtime_ns, stat.st_ino
            self._begin()
        return self._trial if self._trial and self._trial.seconds_left else None

    def _begin(self) -> None:
        try:
            self._trial = read_trial(self._folder)
        except (OSError, ValueError, TypeError):
            traceback.print_exc()
            self._trial = None
        # Zero: it has not begun.
        if self._trial and self._trial.began not in (0, self.counts.began):
            self.counts = read_counts(self._folder, self._trial) or Counts(self._trial.began)
            self._failures, self._paused_until = 0, 0.0
            # Whoever began the trial sees that this door knows it.
            self._save()

    @property
    def is_paused(self) -> bool:
        """Whether the candidate is left alone for a while."""
        return time.monotonic() < self._paused_until

    def add(self, arm: Arm, version: str, seconds: float | None) -> None:
        """Count a request.

        Args:
            arm: The model that it counts for, of the counts that were the trial's when it came.
            version: The model's version; empty: not known.
            seconds: Time that the answer took; None: it failed.
        """
        failed = seconds is None
        arm.version = version or arm.version
        if seconds is None:
            arm.failed += 1
        else:
            arm.add(seconds)
        self._metrics.tried(arm.role, arm.version, "failed" if failed else "answered", seconds or 0)
        if arm is self.counts.candidate:
            self._note(failed)
        self._save_soon()

    def _note(self, failed: bool) -> None:
        """Leave a candidate alone for a while that fails again and again."""
        self._failures = self._failures + 1 if failed else 0
        if self._failures >= FAILURES:
            self._failures, self._paused_until = 0, time.monotonic() + PAUSE

    def drop(self, counts: Counts) -> None:
        """Count a copy that was not sent."""
        counts.dropped += 1
        self._metrics.tried("candidate", "", "dropped")
        self._save_soon()

    def compare(self, counts: Counts, *, is_same: bool) -> None:
        """Count a pair of greedy answers."""
        if is_same:
            counts.same += 1
        else:
            counts.different += 1
        self._metrics.compared(is_same)
        self._save_soon()

    def close(self) -> None:
        """Write what is not in the file yet."""
        if self._saving:
            self._saving.cancel()
            self._save()

    def _save_soon(self) -> None:
        if self._saving is None:
            self._saving = asyncio.get_running_loop().call_later(SAVE_AFTER, self._save)

    def _save(self) -> None:
        self._saving = None
        try:
            trial = read_trial(self._folder)
            if trial and trial.began == self.counts.began:
                self.counts.write(self._folder)
        except (OSError, ValueError, TypeError):
            # A full disk must not keep a request from its answer.
            traceback.print_exc()
