"""Which checkpoint a training goes on from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, Field


class Checkpoint(BaseModel):
    """What one host holds of one checkpoint, as its seal says (`include/node/checkpoints.py`)."""

    attempt: str = Field(description="The try that wrote it.")
    step: int = Field(description="Iteration it was written at.")
    total: int = Field(description="Iterations that training was to have.")
    fingerprint: str = Field(description="Names what was trained, and on what.")
    world_size: int = Field(description="Ranks that wrote it.")
    files: dict[str, str] = Field(description="File name to sha256.")

    @property
    def name(self) -> str:
        return f"iter_{self.step}.pth"

    def __str__(self) -> str:
        return f"{self.attempt}/{self.name}"


def candidates(
    found: Sequence[Sequence[dict[str, Any]]], fingerprint: str, world_size: int
) -> list[Checkpoint]:
    """Checkpoints to go on from, the latest first: of this very training, with an optimizer shard of every rank, and not its end.

    `found` is what each host (or the one, where storage is shared) says it has. Whether the hashes are right is for the hosts to
    say, one checkpoint after the other: reading all of them would take longer than it saves.
    """
    whole: dict[tuple[str, int], Checkpoint] = {}
    for host in found:
        for each in map(Checkpoint.model_validate, host):
            known = whole.get((each.attempt, each.step))
            whole[each.attempt, each.step] = (
                each if known is None else known.model_copy(update={"files": known.files | each.files})
            )
    good = [
        c
        for c in whole.values()
        if c.fingerprint == fingerprint
        and c.world_size == world_size
        and c.step < c.total
        and sum(name.endswith("_optim_states.pt") for name in c.files) == world_size
    ]
    return sorted(good, key=lambda c: (c.step, c.attempt), reverse=True)
