"""Looks at the loss while a training runs: is it finite, and has it jumped?"""

from __future__ import annotations

import importlib
from collections import deque
from collections.abc import Awaitable, Callable
from statistics import median
from typing import cast

from pydantic import BaseModel, ConfigDict, Field

from ssh_gang.progress import Progress

HISTORY = 20
"""Reported losses that a new one is compared with; fewer say too little of their level."""

Told = Callable[[dict[str, str], str, bool], Awaitable[None]]
"""Is told of a bad loss: the gang's owner, what was seen, and whether the gang is stopped. Must not raise."""


class LossPolicy(BaseModel):
    """What becomes of a training whose loss is bad."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    jump: float = Field(gt=1, description="Times the median of the last losses that count as a jump.")
    stop: bool = Field(description="Whether the gang is stopped at the first bad loss.")
    told: str | None = Field(
        None,
        pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)+$",
        description="Import path of an async function that is told, once an attempt; see `Told`.",
    )

    def who_is_told(self) -> Told | None:
        """Import what `told` names."""
        if self.told is None:
            return None
        module, _, name = self.told.rpartition(".")
        return cast(Told, getattr(importlib.import_module(module), name))


class LossWatch:
    """Finds the first bad loss of an attempt.

    Args:
        jump: Times the median of the last losses that count as a jump.
    """

    def __init__(self, jump: float) -> None:
        self._jump = jump
        self._last: deque[float] = deque(maxlen=HISTORY)
        self._has_found = False

    def look(self, step: Progress) -> str | None:
        """Return what is wrong with the loss of a step, the first time that something is."""
        if self._has_found:
            return None
        problem = self._problem(step)
        self._has_found = problem is not None
        if step.loss is not None:
            self._last.append(step.loss)
        return problem

    def _problem(self, step: Progress) -> str | None:
        if not step.loss_is_finite:
            return f"the loss of iteration {step.step} is NaN or infinite"
        if step.loss is None or len(self._last) < HISTORY:
            return None
        level = median(self._last)
        if level > 0 and step.loss > self._jump * level:
            return (
                f"the loss of iteration {step.step} is {step.loss:.4g}, more than {self._jump:g} times the "
                f"median of the {HISTORY} before it ({level:.4g})"
            )
        return None
