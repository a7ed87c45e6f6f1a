"""How fast a DeepSpeed strategy was, without the tables that keep it: a DAG file's operators hand it on."""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import Field

from sqltune.config.recipe import DeepSpeed
from ssh_gang.model import Model

WARM_UP = 2
"""Iterations that are not counted: compilation, and DeepSpeed's first look at the order of the layers."""


class MeasuredStrategy(Model):
    """How fast a strategy was, or why it failed."""

    strategy: DeepSpeed
    seconds_per_iteration: float | None = Field(description="Null where it failed.")
    error: str = Field("", description="Why it failed; empty otherwise.")

    def __str__(self) -> str:
        if self.seconds_per_iteration is None:
            return f"{self.strategy} failed ({self.error})"
        return f"{self.strategy} {self.seconds_per_iteration:.3f} s"


def fastest(measured: Iterable[MeasuredStrategy]) -> DeepSpeed | None:
    """Return the strategy with the fewest seconds an iteration; None where all have failed."""
    rates = {m.seconds_per_iteration: m.strategy for m in measured if m.seconds_per_iteration is not None}
    return rates[min(rates)] if rates else None
