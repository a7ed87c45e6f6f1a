"""`checkpoints.py`: list, verify and stage the sealed checkpoints of a host."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from sqltune.node_contracts.script import NodeModel, NodeScript


class Seal(NodeModel):
    """What one host holds of a checkpoint, with hashes; written once the checkpoint is whole there."""

    step: int = Field(description="Iteration that wrote the checkpoint.")
    total: int = Field(description="Iterations of the whole training.")
    fingerprint: str = Field(description="`checkpoint_fingerprint` of the plan that is trained.")
    world_size: int = Field(description="Ranks that wrote the checkpoint.")
    files: dict[str, str] = Field(description="File name to SHA-256 of the shards on this host.")


class SealedCheckpoint(Seal):
    """A seal, and the attempt whose folder it is in."""

    attempt: str = Field(description="The attempt that wrote it.")

    @property
    def name(self) -> str:
        """Name of the checkpoint's folder."""
        return f"iter_{self.step}.pth"

    def __str__(self) -> str:
        return f"{self.attempt}/{self.name}"


class CheckpointsRequest(NodeModel):
    """What to do with the checkpoints of a host."""

    action: Literal["list", "verify", "stage"] = Field(
        description="list: all seals below `folder`. verify: hash the files of the checkpoint in `folder`. "
        "stage: link it into `work_dir`, as the checkpoint to resume from."
    )
    folder: str = Field(description="The run's folder of attempts for list, else a checkpoint's folder.")
    work_dir: str = Field("", description="Work folder of the new attempt, for stage.")


class CheckpointsResponse(NodeModel):
    """The outcome; the fields of other actions are empty."""

    seals: list[SealedCheckpoint] = Field(default=[], description="Seals that list found.")
    damaged: list[str] = Field(default=[], description="Files that verify found missing or changed.")
    staged: list[str] = Field(default=[], description="Files in the staged checkpoint.")


CHECKPOINTS = NodeScript("checkpoints.py", CheckpointsRequest, CheckpointsResponse)
