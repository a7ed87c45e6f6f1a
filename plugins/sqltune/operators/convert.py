"""The gang of `convert_adapter`."""

from __future__ import annotations

from typing import Any

from sqltune.config.plan import RunPlan
from sqltune.operators.gang import PlanGangOperator
from sqltune.operators.members import member
from sqltune.operators.results import result_of
from ssh_gang import transfer
from ssh_gang.event import GangEvent
from ssh_gang.model import Gang, Member


class ConvertAdapterOperator(PlanGangOperator):
    """Gather the checkpoint's shards on the serving host and turn them into a Hugging Face adapter.

    :param trained: what `train` left.
    """

    template_fields = ("plan", "trained")

    def __init__(self, *, trained: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.trained = trained

    async def prepare(self, gang: Gang) -> Gang:
        """Every other host's shards to the serving host."""
        plan = self.run_plan
        target = plan.cluster.serving_host
        for host in plan.cluster.storage_hosts:
            if host != target and not plan.cluster.shared_storage:
                count = await transfer.copy(host, target, self.trained["checkpoint"])
                self.log.info("%d files from %s, hashes right", count, host.name)
        return gang

    def members(self, plan: RunPlan, attempt: str) -> list[Member]:
        host = plan.cluster.serving_host
        argv = [
            "python",
            f"{plan.code_dir}/convert_adapter.py",
            self.trained["config"],
            self.trained["checkpoint"],
            f"{plan.run_dir}/adapter",
            str(plan.cluster.world_size),
        ]
        return [member(plan, host, argv, cwd=plan.run_dir)]

    def judge(self, gang: Gang, event: GangEvent, output: str) -> dict[str, Any]:
        return result_of(output)
