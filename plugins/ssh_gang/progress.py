"""Turns log lines of a training into numbers."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Sequence

from pydantic import BaseModel, ConfigDict, Field

MOST = 2**31 - 1
"""The largest step or memory that counts: a host may print any number, and a database has a largest one."""


class Progress(BaseModel):
    """Where a training stands, from one line of its log.

    A step is an iteration, counted from 1.
    """

    model_config = ConfigDict(frozen=True)

    step: int = Field(description="The step that the line reports.")
    total: int = Field(description="Number of steps of the whole training.")
    loss: float | None = Field(
        None, description="Training loss; None where the line has none, or it is NaN or infinite."
    )
    loss_is_finite: bool = Field(
        True, description="False where the line has a loss that is NaN or infinite: `loss` is None then."
    )
    last_finite_step: int | None = Field(
        None, description="The latest step up to this one that reported a finite loss."
    )
    first_nonfinite_step: int | None = Field(
        None, description="The first step up to this one that reported a NaN or infinite loss."
    )
    lr: float | None = Field(None, description="Learning rate.")
    seconds_per_step: float | None = Field(None, description="Seconds that a step took.")
    eta: str | None = Field(None, description="Time left, [D days, ]H:MM:SS.")
    tokens_per_second: float | None = Field(
        None, description="Tokens per second on one rank, padding included, where the training counts them."
    )
    memory: int | None = Field(None, description="Peak GPU memory on rank 0, in MiB; None on CPU.")

    def __str__(self) -> str:
        loss = "" if self.loss is None else f" · loss {self.loss:.4f}"
        eta = "" if self.eta is None else f" · ETA {self.eta}"
        return (
            f"iter {self.step}/{self.total}{'' if self.loss_is_finite else ' · loss not finite'}{loss}{eta}"
        )

    def after(self, previous: Progress | None) -> Progress:
        """Return this step with the history of the loss carried on from the step before."""
        last_finite = self.step if self.loss is not None else self.last_finite_step
        first_nonfinite = self.first_nonfinite_step if self.loss_is_finite else self.step
        if previous is not None:
            last_finite = last_finite or previous.last_finite_step
            first_nonfinite = previous.first_nonfinite_step or first_nonfinite
        return self.model_copy(
            update={"last_finite_step": last_finite, "first_nonfinite_step": first_nonfinite}
        )


class ProgressTracker:
    """The furthest step that any host of a gang has reported.

    Args:
        pattern: Finds progress in a log line, see `parse_progress`; None finds none.
        reported: Called with each step that goes further than the one before.
    """

    def __init__(self, pattern: str | None, reported: Callable[[Progress], None]) -> None:
        self._pattern = None if pattern is None else re.compile(pattern)
        self._reported = reported
        self.latest: Progress | None = None
        self.is_restoring = False
        """Whether it is not known yet how far an earlier watcher saw this attempt come."""
        self._moved_at = time.monotonic()

    @property
    def is_expected(self) -> bool:
        """Whether the log reports progress at all."""
        return self._pattern is not None

    @property
    def seconds_since_last(self) -> float:
        """Seconds since the last step, or since the watch began."""
        return time.monotonic() - self._moved_at

    def read(self, lines: Sequence[str]) -> set[int]:
        """Note the steps that lines report, and return the positions of those lines."""
        if self._pattern is None:
            return set()
        steps = {at: step for at, line in enumerate(lines) if (step := parse_progress(self._pattern, line))}
        for step in steps.values():
            self._note(step)
        return set(steps)

    def restore(self, previous: Progress | None) -> None:
        """Go on from the last step that an earlier watcher of this attempt recorded."""
        self.is_restoring = False
        if previous is None:
            return
        if self.latest is None or self.latest.step <= previous.step:
            self.latest = previous
        else:
            self.latest = self.latest.after(previous)

    def restart_clock(self) -> None:
        """Count the time without progress from now: the log could not be read until now."""
        self._moved_at = time.monotonic()

    def _note(self, step: Progress) -> None:
        if self.latest is None or step.step > self.latest.step:
            self.latest = step.after(self.latest)
            self._moved_at = time.monotonic()
            self._reported(self.latest)


class CheckpointFinder:
    """The checkpoints that one host reports; their steps grow.

    Args:
        pattern: Finds the group `step` in a log line.
        found: Called with the step of each checkpoint, once.
    """

    def __init__(self, pattern: str, found: Callable[[int], None]) -> None:
        self._pattern = re.compile(pattern)
        self._found = found
        self._latest = 0

    def read(self, lines: Sequence[str]) -> None:
        """Report the checkpoints in lines that were not reported before."""
        for match in filter(None, map(self._pattern.search, lines)):
            step = _whole_number(match["step"])
            if step is not None and step > self._latest:
                self._latest = step
                self._found(step)


def parse_progress(pattern: re.Pattern[str], line: str) -> Progress | None:
    """Return the progress that a line reports, or None where the pattern finds no step in it.

    Args:
        pattern: Has the named groups `step` and `total`; further groups are named after fields of `Progress`.
            A group may be absent from the pattern, or not take part in the match.
        line: One line of the log.
    """
    match = pattern.search(line)
    if match is None:
        return None
    groups = match.groupdict()
    step, total = _whole_number(groups["step"]), _whole_number(groups["total"])
    if step is None or total is None:
        return None
    loss, memory = _number(groups.get("loss")), _number(groups.get("memory"))
    if memory is not None and not 0 <= memory <= MOST:
        memory = None
    return Progress(
        step=step,
        total=total,
        loss=_finite(loss),
        loss_is_finite=loss is None or math.isfinite(loss),
        lr=_finite(_number(groups.get("lr"))),
        seconds_per_step=_finite(_number(groups.get("seconds_per_step"))),
        eta=groups.get("eta"),
        tokens_per_second=_finite(_number(groups.get("tokens_per_second"))),
        memory=None if memory is None else int(memory),
    )


def _whole_number(text: str | None) -> int | None:
    """None for a group that did not take part in the match, and for what is no whole number up to MOST."""
    if not text or not text.isdecimal() or len(text) > len(str(MOST)):
        return None
    return number if (number := int(text)) <= MOST else None


def _number(text: str | None) -> float | None:
    """None too for what is not a number, such as the start of one in a line that was cut."""
    try:
        return None if text is None else float(text)
    except ValueError:
        return None


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
