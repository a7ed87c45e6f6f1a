"""The checkpoints of a run on its hosts: which of them a training may resume from."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any

from pydantic import BaseModel, Field

from sqltune import node
from sqltune.config.cluster import Host
from sqltune.config.plan import RunPlan
from ssh_gang import transfer

HASHING = 3600.0
"""Seconds that a host may take to hash a checkpoint: it may have hundreds of gigabytes."""

SHARD = "_optim_states.pt"
"""End of the name of a rank's optimizer shard; every DeepSpeed strategy writes one for each rank."""


class Checkpoint(BaseModel):
    """What one host holds of one checkpoint, as its seal says (`include/node/checkpoints.py`)."""

    attempt: str = Field(description="The attempt that wrote it.")
    step: int = Field(description="Iteration at which it was written.")
    total: int = Field(description="Iterations of the whole training.")
    fingerprint: str = Field(description="Fingerprint of the plan that is trained.")
    world_size: int = Field(description="Ranks that wrote it.")
    files: dict[str, str] = Field(description="File name to SHA-256.")

    @property
    def name(self) -> str:
        """Name of its folder."""
        return f"iter_{self.step}.pth"

    def __str__(self) -> str:
        return f"{self.attempt}/{self.name}"


def candidates(sealed: Iterable[Iterable[Checkpoint]], fingerprint: str, world_size: int) -> list[Checkpoint]:
    """Checkpoints to resume from, the latest first: of this training, before its end, with every shard.

    The hashes are compared later, on the hosts, one checkpoint after the other: reading all of them would
    take longer than it saves.

    Args:
        sealed: The checkpoints of each host (only the master's where storage is shared).
        fingerprint: Fingerprint of the plan.
        world_size: Ranks of the plan's cluster.
    """
    whole: dict[tuple[str, int], Checkpoint] = {}
    for part in (checkpoint for host in sealed for checkpoint in host):
        known = whole.get((part.attempt, part.step))
        files = part.files | (known.files if known else {})
        whole[part.attempt, part.step] = part.model_copy(update={"files": files})
    resumable = [
        c
        for c in whole.values()
        if c.fingerprint == fingerprint
        and c.world_size == world_size
        and c.step < c.total
        and sum(name.endswith(SHARD) for name in c.files) == world_size
    ]
    return sorted(resumable, key=lambda c: (c.step, c.attempt), reverse=True)


class CheckpointStore:
    """The checkpoints of a run, on every host that stores them.

    Args:
        plan: The run plan.
    """

    def __init__(self, plan: RunPlan) -> None:
        self.plan = plan
        self.hosts = plan.cluster.storage_hosts

    def work_dir(self, attempt: str) -> str:
        """Folder of an attempt's config, logs and checkpoints on every host.

        Each attempt has a folder of its own, so that no shard of an older one is taken for its own.
        """
        return f"{self.plan.run_dir}/train/{attempt}"

    async def candidates(self) -> list[Checkpoint]:
        """Checkpoints to resume from, the latest first; their hashes are not compared yet."""
        answers = await self._everywhere("list", f"{self.plan.run_dir}/train")
        sealed = [[Checkpoint.model_validate(value) for value in answer] for answer in answers]
        return candidates(sealed, self.plan.fingerprint, self.plan.cluster.world_size)

    async def damaged(self, checkpoint: Checkpoint) -> list[str]:
        """Files of a checkpoint that are missing or changed, each as `file on host`."""
        answers = await self._everywhere("verify", self._folder(checkpoint))
        return [
            f"{file} on {host.name}"
            for host, files in zip(self.hosts, answers, strict=True)
            for file in files
        ]

    async def stage(self, checkpoint: Checkpoint, attempt: str) -> None:
        """Put a checkpoint into a new attempt's work folder on every host."""
        work_dir = self.work_dir(attempt)
        answers = await self._everywhere("stage", self._folder(checkpoint), work_dir)
        master, *others = self.hosts
        for host, files in zip(others, answers[1:], strict=True):
            # ZeRO-1 and -2 write the model's states on rank 0's host only, and every rank reads them.
            if missing := _model_states(answers[0]) - {*files}:
                await transfer.copy(master, host, f"{work_dir}/{checkpoint.name}", sorted(missing))

    def _folder(self, checkpoint: Checkpoint) -> str:
        return f"{self.work_dir(checkpoint.attempt)}/{checkpoint.name}"

    async def _everywhere(self, *arguments: str) -> list[list[Any]]:
        return await asyncio.gather(*(self._on(host, arguments) for host in self.hosts))

    async def _on(self, host: Host, arguments: Sequence[str]) -> list[Any]:
        answer = await node.run_async(self.plan, host, "checkpoints.py", list(arguments), HASHING)
        value: list[Any] = answer["value"]
        return value


def _model_states(files: Iterable[str]) -> set[str]:
    return {name for name in files if name.startswith("mp_rank_")}
