"""A person's decision on a dataset that exceeds the recipe's limits, before anything is trained on it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk.exceptions import AirflowSkipException

from sqltune.config.plan import RunPlan

if TYPE_CHECKING:
    from airflow.sdk import Context

log = logging.getLogger(__name__)

APPROVE_DATA = "approve_data"
"""Id of the task that waits for a person."""


class DataApprovalOperator(ApprovalOperator):
    """Wait for a person where the dataset exceeds a limit and the recipe says `on_excess: ask`.

    It is skipped otherwise. Rejecting ends the run, green: nothing is trained. Give it retries, as
    `ModelApprovalOperator` explains.

    Args:
        plan: The `RunPlan` as JSON.
    """

    template_fields = ("subject", "body", "plan")

    def __init__(self, *, plan: Any, **kwargs: Any) -> None:
        super().__init__(subject="Train on this dataset?", ignore_downstream_trigger_rules=True, **kwargs)
        self.plan = plan

    def execute(self, context: Context) -> Any:
        """Show what exceeds which limit, and wait; skipped where nothing does."""
        from sqltune.dataset.data_check import excesses, summary
        from sqltune.records import data_checks
        from sqltune.records.shared import require_database_of

        plan = RunPlan.model_validate(self.plan)
        require_database_of(plan)
        check = data_checks.get(plan.key)
        found = excesses(check, plan.recipe.data_limits) if check and asks(plan) else []
        if not check or not found:
            raise AirflowSkipException("no decision needed: the dataset exceeds no limit that asks for one")
        self.subject = f"Train {plan.run_id} on {plan.dataset_repo} at {plan.dataset_commit[:12]}?"
        exceeded = "\n".join(f"- {excess.message}" for excess in found)
        heading = f"The dataset exceeds limits of recipe {plan.recipe_name}:"
        self.body = f"{heading}\n\n{exceeded}\n\n```\n{summary(check)}\n```"
        self.log.info("%s\n%s", self.subject, self.body)
        return super().execute(context)


def asks(plan: RunPlan) -> bool:
    """Whether a person decides on a dataset that exceeds a limit."""
    return plan.recipe.data_limits.on_excess == "ask" and not plan.accept_data
