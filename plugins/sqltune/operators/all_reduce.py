"""The gang of `all_reduce`: every rank takes part in one sum."""

from __future__ import annotations

from typing import Any

from sqltune.config.plan import RunPlan
from sqltune.operators.gang import PlanGangOperator
from sqltune.operators.members import rank_members
from sqltune.operators.results import end_of
from ssh_gang.errors import GangError
from ssh_gang.event import GangEvent
from ssh_gang.log import split_ranks
from ssh_gang.model import Gang, Member

REPORT = "all-reduce of"
"""How rank 0's report of the sum begins (`include/node/all_reduce.py`)."""


class AllReduceOperator(PlanGangOperator):
    """Run an all-reduce over all ranks, before anything is downloaded or loaded.

    Args:
        master_addr: Address of the master's interface.
    """

    template_fields = ("plan", "master_addr")
    exclusive = True

    def __init__(self, *, master_addr: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.master_addr = master_addr

    def members(self, plan: RunPlan, attempt: str) -> list[Member]:
        """One torchrun on each host."""
        script = [f"{plan.code_dir}/all_reduce.py", plan.cluster.backend]
        return rank_members(plan, self.master_addr, script, cwd=plan.run_dir)

    def judge(self, gang: Gang, event: GangEvent, output: str) -> str:
        """Rank 0's report of a sum over all ranks.

        Raises:
            GangError: There is no report, or the sum is over fewer ranks.
        """
        world_size = self.run_plan.cluster.world_size
        texts = [text for line in output.splitlines() for _, text in split_ranks(line)]
        report = next((text for text in texts if text.startswith(REPORT)), None)
        if report is None:
            raise GangError(f"every rank ended with 0, but rank 0 reported no sum:\n{end_of(output)}")
        if f"over {world_size} ranks" not in report:
            raise GangError(f"{report}: expected {world_size} ranks; torchrun did not receive a variable")
        return report
