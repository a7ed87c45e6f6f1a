"""The checkpoints of a run on its hosts: which of them a training may resume from."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from sqltune import node
from sqltune.config.cluster import Host
from sqltune.config.plan import RunPlan
from sqltune.node_contracts.checkpoints import (
    CHECKPOINTS,
    CheckpointsRequest,
    CheckpointsResponse,
    SealedCheckpoint,
)
from ssh_gang import transfer

HASHING = 3600.0
"""Seconds that a host may take to hash a checkpoint: it may have hundreds of gigabytes."""

SHARD = "_optim_states.pt"
"""End of the name of a rank's optimizer shard; every DeepSpeed strategy writes one for each rank."""


def candidates(
    sealed: Iterable[Iterable[SealedCheckpoint]], fingerprint: str, world_size: int
) -> list[SealedCheckpoint]:
    """Checkpoints to resume from, the latest first: of this plan, unfinished, and with every shard.

    The hashes are compared later, on the hosts, one checkpoint after the other: reading all of them would
    take longer than it saves.

    Args:
        sealed: The checkpoints of each host (only the master's where storage is shared).
        fingerprint: The plan's `checkpoint_fingerprint`.
        world_size: Ranks of the plan's cluster.
    """
    whole: dict[tuple[str, int], SealedCheckpoint] = {}
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

    async def candidates(self) -> list[SealedCheckpoint]:
        """Checkpoints to resume from, the latest first; their hashes are not compared yet."""
        request = CheckpointsRequest(action="list", folder=f"{self.plan.run_dir}/train")
        sealed = [response.seals for response in await self._everywhere(request)]
        return candidates(sealed, self.plan.checkpoint_fingerprint, self.plan.cluster.world_size)

    async def damaged(self, checkpoint: SealedCheckpoint) -> list[str]:
        """Files of a checkpoint that are missing or changed, each as `file on host`."""
        request = CheckpointsRequest(action="verify", folder=self._folder(checkpoint))
        responses = await self._everywhere(request)
        return [
            f"{file} on {host.name}"
            for host, response in zip(self.hosts, responses, strict=True)
            for file in response.damaged
        ]

    async def stage(self, checkpoint: SealedCheckpoint, attempt: str) -> None:
        """Put a checkpoint into a new attempt's work folder on every host."""
        work_dir = self.work_dir(attempt)
        request = CheckpointsRequest(action="stage", folder=self._folder(checkpoint), work_dir=work_dir)
        first, *others = await self._everywhere(request)
        for host, response in zip(self.hosts[1:], others, strict=True):
            # ZeRO-1 and -2 write the model's states on rank 0's host only, and every rank reads them.
            if missing := _model_states(first.staged) - {*response.staged}:
                await transfer.copy(self.hosts[0], host, f"{work_dir}/{checkpoint.name}", sorted(missing))

    def _folder(self, checkpoint: SealedCheckpoint) -> str:
        return f"{self.work_dir(checkpoint.attempt)}/{checkpoint.name}"

    async def _everywhere(self, request: CheckpointsRequest) -> list[CheckpointsResponse]:
        return await asyncio.gather(*(self._on(host, request) for host in self.hosts))

    async def _on(self, host: Host, request: CheckpointsRequest) -> CheckpointsResponse:
        return await node.run_async(self.plan, host, CHECKPOINTS, request, HASHING)


def _model_states(files: Iterable[str]) -> set[str]:
    return {name for name in files if name.startswith("mp_rank_")}
