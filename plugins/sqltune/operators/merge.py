"""The gang of `merge_adapter`: from the adapter to a model that can be served."""

from __future__ import annotations

from typing import Any

from sqltune.config.plan import RunPlan
from sqltune.contracts import Adapter, MergedModel
from sqltune.node_contracts.adapter import MERGE_ADAPTER, MergeRequest
from sqltune.operators.gang import PlanGangOperator
from sqltune.operators.members import member
from sqltune.operators.results import result_of
from ssh_gang.event import GangEvent
from ssh_gang.model import Gang, Member


class MergeAdapterOperator(PlanGangOperator):
    """Merge the adapter into the base model on the serving host; the logits of both must agree.

    Args:
        adapter: The `Adapter` as JSON.
    """

    template_fields = ("plan", "adapter")

    def __init__(self, *, adapter: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.adapter = adapter

    def members(self, plan: RunPlan, attempt: str) -> list[Member]:
        """The merge, on the serving host."""
        request = MergeRequest(
            base_model=plan.base_model,
            adapter=Adapter.model_validate(self.adapter).adapter_path,
            merged=f"{plan.run_dir}/merged",
        )
        argv = MERGE_ADAPTER.argv(plan.code_dir, request)
        return [member(plan, plan.cluster.serving_host, argv, cwd=plan.run_dir)]

    def judge(self, gang: Gang, event: GangEvent, output: str) -> MergedModel:
        """What the script reports."""
        return result_of(MERGE_ADAPTER, output)
