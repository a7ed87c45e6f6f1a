"""The gang of `merge_adapter`."""

from __future__ import annotations

from typing import Any

from sqltune.config.plan import RunPlan
from sqltune.operators.gang import PlanGangOperator
from sqltune.operators.members import member
from sqltune.operators.results import result_of
from ssh_gang.event import GangEvent
from ssh_gang.model import Gang, Member


class MergeAdapterOperator(PlanGangOperator):
    """Merge the adapter into the base model on the serving host; the logits of both must agree.

    :param adapter: what `convert_adapter` left.
    """

    template_fields = ("plan", "adapter")

    def __init__(self, *, adapter: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.adapter = adapter

    def members(self, plan: RunPlan, attempt: str) -> list[Member]:
        host = plan.cluster.serving_host
        argv = [
            "python",
            f"{plan.code_dir}/merge_adapter.py",
            plan.base_model,
            self.adapter["adapter_path"],
            f"{plan.run_dir}/merged",
        ]
        return [member(plan, host, argv, cwd=plan.run_dir)]

    def judge(self, gang: Gang, event: GangEvent, output: str) -> dict[str, Any]:
        return result_of(output)
