"""The gang of `all_reduce`: every rank takes part in one sum."""

from __future__ import annotations

from typing import Any

from sqltune.config.plan import RunPlan
from sqltune.node_contracts.all_reduce import ALL_REDUCE, AllReduceRequest
from sqltune.operators.gang import PATIENCE, PlanGangOperator
from sqltune.operators.members import rank_members
from sqltune.operators.results import result_of
from ssh_gang.errors import GangError
from ssh_gang.event import GangEvent
from ssh_gang.log import split_ranks
from ssh_gang.model import Gang, Member


class AllReduceOperator(PlanGangOperator):
    """Run an all-reduce over all ranks, before anything is downloaded or loaded.

    Args:
        master_addr: Address of the master's interface.
    """

    template_fields = ("plan", "master_addr")
    exclusive = True
    patience = PATIENCE

    def __init__(self, *, master_addr: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.master_addr = master_addr

    def members(self, plan: RunPlan, attempt: str) -> list[Member]:
        """One torchrun on each host."""
        request = AllReduceRequest(backend=plan.cluster.backend)
        # torchrun takes the place of the plain interpreter.
        _, *script = ALL_REDUCE.argv(plan.code_dir, request)
        return rank_members(plan, self.master_addr, script, cwd=plan.run_dir)

    def judge(self, gang: Gang, event: GangEvent, output: str) -> str:
        """Rank 0's report of a sum over all ranks.

        Raises:
            GangError: The report is missing, or the sum is over fewer ranks.
        """
        world_size = self.run_plan.cluster.world_size
        texts = [text for line in output.splitlines() for _, text in split_ranks(line)]
        measured = result_of(ALL_REDUCE, "\n".join(texts))
        if measured.world_size != world_size:
            raise GangError(
                f"{measured}: expected {world_size} ranks. Compare nnodes and nproc_per_node in the commands "
                "above with hosts and processes in the cluster file"
            )
        return str(measured)
