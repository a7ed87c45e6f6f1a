"""The gang of `export_model`: from the checkpoint's shards to a model that can be served."""

from __future__ import annotations

from typing import Any

from sqltune import node
from sqltune.config.plan import RunPlan
from sqltune.contracts import ExportedModel, TrainedCheckpoint
from sqltune.node_contracts.export import EXPORT_MODEL, ExportRequest
from sqltune.operators.gang import PATIENCE, PlanGangOperator
from sqltune.operators.members import member
from sqltune.operators.results import result_of
from ssh_gang import transfer
from ssh_gang.event import GangEvent
from ssh_gang.model import Gang, Member


class ExportModelOperator(PlanGangOperator):
    """Gather the checkpoint's shards on the serving host, convert them to an adapter, and merge it.

    The logits of the merged model must be those of base model and adapter.

    Args:
        trained: The `TrainedCheckpoint` as JSON.
    """

    template_fields = ("plan", "trained")
    patience = PATIENCE

    def __init__(self, *, trained: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.trained = trained

    @property
    def run_plan(self) -> RunPlan:
        """The plan, with the scripts of this machine: sqltune may have been upgraded while it trained."""
        return super().run_plan.model_copy(update={"code_version": node.bundle()[0]})

    async def prepare(self, gang: Gang) -> Gang:
        """Copy the scripts and every other host's shards to the serving host."""
        cluster = self.run_plan.cluster
        await node.push(self.run_plan, cluster.serving_host)
        if not cluster.shared_storage:
            for host in cluster.hosts:
                if host != cluster.serving_host:
                    count = await transfer.copy(host, cluster.serving_host, self._checkpoint.checkpoint)
                    self.log.info("%d files copied from %s; their hashes match", count, host.name)
        return gang

    def members(self, plan: RunPlan, attempt: str) -> list[Member]:
        """Conversion, merge and comparison, on the serving host."""
        request = ExportRequest(
            config=self._checkpoint.config,
            checkpoint=self._checkpoint.checkpoint,
            world_size=plan.cluster.world_size,
            base_model=plan.base_model,
            adapter=f"{plan.run_dir}/adapter",
            merged=f"{plan.run_dir}/merged",
        )
        argv = EXPORT_MODEL.argv(plan.code_dir, request)
        return [member(plan, plan.cluster.serving_host, argv, cwd=plan.run_dir)]

    def judge(self, gang: Gang, event: GangEvent, output: str) -> ExportedModel:
        """What the script reports."""
        exported = result_of(EXPORT_MODEL, output)
        adapters = self.run_plan.cluster.serving.adapters
        self.log.info(
            "merged model and base + adapter differ by %s nats at most; %s is served (serving.adapters: %s)",
            exported.largest_difference,
            exported.folder(adapters),
            adapters,
        )
        return exported

    @property
    def _checkpoint(self) -> TrainedCheckpoint:
        return TrainedCheckpoint.model_validate(self.trained)
