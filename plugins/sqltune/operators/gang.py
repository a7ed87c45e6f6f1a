"""A gang whose hosts, folders and limits come from the run plan."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sqltune.config.base import digest
from sqltune.config.plan import RunPlan
from sqltune.contracts import dumped
from ssh_gang.loss import LossPolicy
from ssh_gang.model import Gang, Member
from ssh_gang.operator import BaseGangOperator
from ssh_gang.task_gang import task_gang

if TYPE_CHECKING:
    from airflow.sdk import Context

    from ssh_gang.recorder import RecorderRef

PATIENCE = 60.0
"""Seconds for which the task of a gang that may be short watches it, instead of the triggerer."""


class PlanGangOperator(BaseGangOperator):
    """Run one job of the chain on hosts of the plan's cluster.

    Args:
        plan: The `RunPlan` as JSON.
    """

    template_fields: Sequence[str] = ("plan",)
    exclusive = False
    """Whether no other exclusive gang may run on the hosts."""
    progress_pattern: str | None = None
    """Finds progress in a log line; see `Gang.progress_pattern`."""
    checkpoint_pattern: str | None = None
    """Finds a checkpoint in a log line; see `Gang.checkpoint_pattern`."""

    def __init__(self, *, plan: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.plan = plan

    @property
    def run_plan(self) -> RunPlan:
        """The plan, validated; only once Airflow has rendered the template fields."""
        return RunPlan.model_validate(self.plan)

    def pre_execute(self, context: Context) -> None:
        """Do nothing on a machine whose records are not the plan's; called by Airflow."""
        from sqltune.records.shared import require_records_of

        require_records_of(self.run_plan)

    def members(self, plan: RunPlan, attempt: str) -> list[Member]:
        """Return what runs on each host."""
        raise NotImplementedError

    def loss_policy(self, plan: RunPlan) -> LossPolicy | None:
        """Return what becomes of a bad loss; None where the gang has none."""
        return None

    def spec_hash(self) -> str:
        """Return a hash of what the gang runs: the plan as `plan` wrote it, so that an upgrade keeps it."""
        return digest(self.plan)

    def gang(self, context: Context, attempt: str) -> Gang:
        """Return the gang of this task, for one attempt."""
        plan = self.run_plan
        return task_gang(
            context,
            attempt,
            installation=plan.installation,
            spec_hash=self.spec_hash(),
            root=f"{plan.cluster.work_dir}/gangs",
            members=self.members(plan, attempt),
            limits=plan.cluster.limits,
            max_log_gib=plan.cluster.max_log_gib,
            exclusive=self.exclusive,
            progress_pattern=self.progress_pattern,
            checkpoint_pattern=self.checkpoint_pattern,
            loss=self.loss_policy(plan),
        )

    def execute_complete(self, context: Context, event: Any) -> Any:
        """Judge the gang's end, and hand on a model of `sqltune.contracts` as JSON."""
        return dumped(super().execute_complete(context, event))

    def recorder_for(self, gang: Gang) -> RecorderRef:
        """Return the recorder of the run."""
        from sqltune.records.recorder import RunRecorder

        return RunRecorder.ref(self.run_plan.key, gang.name, gang.owner["task_id"])
