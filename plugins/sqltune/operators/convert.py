"""The gang of `convert_adapter`: from the checkpoint's shards to a Hugging Face adapter."""

from __future__ import annotations

from typing import Any

from sqltune.config.plan import RunPlan
from sqltune.contracts import Adapter, TrainedCheckpoint
from sqltune.node_contracts.adapter import CONVERT_ADAPTER, ConvertRequest
from sqltune.operators.gang import PlanGangOperator
from sqltune.operators.members import member
from sqltune.operators.results import result_of
from ssh_gang import transfer
from ssh_gang.event import GangEvent
from ssh_gang.model import Gang, Member


class ConvertAdapterOperator(PlanGangOperator):
    """Gather the checkpoint's shards on the serving host and convert them to a Hugging Face adapter.

    Args:
        trained: The `TrainedCheckpoint` as JSON.
    """

    template_fields = ("plan", "trained")

    def __init__(self, *, trained: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.trained = trained

    async def prepare(self, gang: Gang) -> Gang:
        """Copy every other host's shards to the serving host."""
        cluster = self.run_plan.cluster
        if not cluster.shared_storage:
            for host in cluster.hosts:
                if host != cluster.serving_host:
                    count = await transfer.copy(host, cluster.serving_host, self._checkpoint.checkpoint)
                    self.log.info("%d files copied from %s; their hashes match", count, host.name)
        return gang

    def members(self, plan: RunPlan, attempt: str) -> list[Member]:
        """The conversion, on the serving host."""
        request = ConvertRequest(
            config=self._checkpoint.config,
            checkpoint=self._checkpoint.checkpoint,
            adapter=f"{plan.run_dir}/adapter",
            world_size=plan.cluster.world_size,
        )
        argv = CONVERT_ADAPTER.argv(plan.code_dir, request)
        return [member(plan, plan.cluster.serving_host, argv, cwd=plan.run_dir)]

    def judge(self, gang: Gang, event: GangEvent, output: str) -> Adapter:
        """What the script reports."""
        return result_of(CONVERT_ADAPTER, output)

    @property
    def _checkpoint(self) -> TrainedCheckpoint:
        return TrainedCheckpoint.model_validate(self.trained)
