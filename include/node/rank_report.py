"""Reports of each rank during a training: `custom_hooks = [dict(type=RankReport)]` in an xtuner config.

The ranks of a training wait for one another in every step, so a step takes the same time on all of them. What
a report tells apart: the rank that is behind, or that has stopped reporting; and the one that waits for its
data.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import torch
from mmengine.hooks import Hook

PAUSE = 2.0
"""Seconds between two reports, at least."""


class RankReport(Hook):  # type: ignore[misc]  # mmengine has no types
    """Writes this rank's step and the seconds that its steps take where the watcher reads them."""

    priority = "LOWEST"

    def __init__(self) -> None:
        # A config that is run by hand has no watcher, and no folder for reports.
        folder = os.environ.get("SSH_GANG_REPORTS")
        self._file = Path(folder, os.environ.get("RANK", "0")) if folder else None
        self._began = self._iteration_ended = time.monotonic()
        self._steps = 0
        self._data_seconds = 0.0

    def before_train_epoch(self, runner: Any) -> None:
        """Called by mmengine before the first batch is loaded."""
        self._began = self._iteration_ended = time.monotonic()
        self._steps, self._data_seconds = 0, 0.0

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        """Called by mmengine when the batch is there."""
        self._data_seconds += time.monotonic() - self._iteration_ended

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Called by mmengine on every rank."""
        now = self._iteration_ended = time.monotonic()
        self._steps += 1
        if self._file is None or (now - self._began < PAUSE and runner.iter + 1 < runner.max_iters):
            return
        fields = {
            "step": runner.iter + 1,
            "at": round(time.time(), 3),
            "seconds": round((now - self._began) / self._steps, 4),
            "data_seconds": round(self._data_seconds / self._steps, 4),
        }
        if torch.cuda.is_available():
            fields["memory"] = torch.cuda.max_memory_allocated() // 2**20
        _replace(self._file, " ".join(f"{name}={value}" for name, value in fields.items()))
        self._began, self._steps, self._data_seconds = now, 0, 0.0


def _replace(file: Path, line: str) -> None:
    """Write the line, whole or not at all; a full disk costs the report, and never the training."""
    temporary = file.with_name(f".{file.name}.new")
    try:
        temporary.write_text(f"{line}\n")
        temporary.replace(file)
    except OSError:
        pass
