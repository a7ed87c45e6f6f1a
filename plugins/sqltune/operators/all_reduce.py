"""The gang of `all_reduce`: every rank takes part in one sum."""

from __future__ import annotations

from typing import Any

from sqltune.config.plan import RunPlan
from sqltune.operators.gang import PlanGangOperator
from sqltune.operators.members import rank_member
from ssh_gang.errors import GangError
from ssh_gang.event import GangEvent
from ssh_gang.log import split_ranks
from ssh_gang.model import Gang, Member


class AllReduceOperator(PlanGangOperator):
    """A real all-reduce over all ranks, before anything is downloaded or loaded.

    :param master_addr: address of the master's interface.
    """

    template_fields = ("plan", "master_addr")
    exclusive = True

    def __init__(self, *, master_addr: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.master_addr = master_addr

    def members(self, plan: RunPlan, attempt: str) -> list[Member]:
        script = [f"{plan.code_dir}/all_reduce.py", plan.cluster.backend]
        return [
            rank_member(plan, rank, self.master_addr, script, cwd=plan.run_dir)
            for rank in range(len(plan.cluster.hosts))
        ]

    def judge(self, gang: Gang, event: GangEvent, output: str) -> str:
        plan = self.run_plan
        for said in (said for line in output.splitlines() for _, said in split_ranks(line)):
            if said.startswith("all-reduce of"):
                if f"over {plan.cluster.world_size} ranks" not in said:
                    raise GangError(
                        f"{said}: {plan.cluster.world_size} ranks wanted; a variable of torchrun was lost"
                    )
                return said
        raise GangError(f"every rank ended with 0, and rank 0 said nothing of a sum:\n{output[-1500:]}")
