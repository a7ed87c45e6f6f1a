"""Log lines of a training to numbers."""

from __future__ import annotations

import re

from pydantic import BaseModel, Field


class Progress(BaseModel):
    """Where a training stands, from one line of mmengine's log."""

    step: int = Field(description="Iteration, from 1.")
    total: int = Field(description="Iterations in all.")
    loss: float | None = Field(None, description="Training loss, nan left out.")
    lr: float | None = Field(None, description="Learning rate.")
    seconds_per_step: float | None = Field(None, description="Seconds an iteration took.")
    eta: str | None = Field(None, description="Time left, [D days, ]H:MM:SS.")
    tokens_per_second: float | None = Field(
        None,
        description="Tokens a second on one rank, padding included, where xtuner's ThroughputHook counts them.",
    )
    memory: int | None = Field(None, description="MiB of GPU memory at its highest on rank 0; none on CPU.")

    def __str__(self) -> str:
        loss = "" if self.loss is None else f" · loss {self.loss:.4f}"
        eta = "" if self.eta is None else f" · ETA {self.eta}"
        return f"iter {self.step}/{self.total}{loss}{eta}"


_STEP = re.compile(r"Iter\(train\)\s*\[\s*(\d+)/(\d+)\]")
_VALUE = re.compile(r"\b(lr|loss|time|tokens_per_sec|memory): ([\d.eE+-]+|nan|inf)")
_ETA = re.compile(r"\beta: ((?:\d+ days?, )?\d+:\d\d:\d\d)")


def parse_line(line: str) -> Progress | None:
    """Progress from a line such as `… Iter(train) [ 10/157]  lr: 1.0e-04  eta: 0:20:59  time: 8.5  loss: 1.2`, or None."""
    step = _STEP.search(line) if "Iter(train)" in line else None
    if step is None:
        return None
    values = {name: float(value) for name, value in _VALUE.findall(line)}
    eta = _ETA.search(line)
    loss = values.get("loss")
    return Progress(
        step=int(step[1]),
        total=int(step[2]),
        loss=None if loss is None or loss != loss else loss,
        lr=values.get("lr"),
        seconds_per_step=values.get("time"),
        eta=eta[1] if eta else None,
        tokens_per_second=values.get("tokens_per_sec"),
        memory=int(values["memory"]) if "memory" in values else None,
    )
