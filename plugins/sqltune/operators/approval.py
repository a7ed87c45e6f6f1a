"""A person's approval: the before/after table on Airflow's page, and two buttons under it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk.exceptions import AirflowSkipException

from sqltune.config.plan import RunPlan

if TYPE_CHECKING:
    from airflow.sdk import Context

    from sqltune.evaluation.verdict import Verdict

APPROVE = "approve"
"""Id of the task that waits for a person."""


class ModelApprovalOperator(ApprovalOperator):
    """Wait for a person to approve a model that the gate passed.

    It is skipped unless the form says `ask`, or if the gate held the model back. Rejecting holds the model
    back: the tasks directly after this one are skipped, and the run succeeds.

    Give it retries. An answer within half a second of the question (the scheduler's next loop) makes Airflow
    3.3.2 fail the try ("executor reported success, but state is queued") and drops the answer; the retry asks
    again. A person is not that fast; a script should check that its answer was accepted.

    Args:
        plan: The `RunPlan` as JSON.
        verdict: The `Verdict` as JSON.
    """

    template_fields = ("subject", "body", "plan", "verdict")

    def __init__(self, *, plan: Any, verdict: Any, **kwargs: Any) -> None:
        super().__init__(subject="Serve the new model?", **kwargs)
        self.plan = plan
        self.verdict = verdict

    def execute(self, context: Context) -> Any:
        """Show the verdict and wait; skipped where no approval is needed."""
        from sqltune.evaluation.verdict import Verdict
        from sqltune.records.shared import require_database_of

        plan, verdict = RunPlan.model_validate(self.plan), Verdict.model_validate(self.verdict)
        if reason := no_approval_needed(plan.promote, verdict.passed):
            raise AirflowSkipException(reason)
        require_database_of(plan)
        self.subject = f"Serve the new model of {plan.run_id} on {plan.cluster_name}?"
        self.body = _body(plan, verdict)
        self.log.info("%s\n%s", self.subject, self.body)
        return super().execute(context)


def no_approval_needed(promote: str, passed: bool) -> str | None:
    """Why no approval is needed; None where a person must approve the model.

    Args:
        promote: The form's value.
        passed: Whether the gate passed the model.
    """
    if not passed:
        return "no approval needed: the gate held the model back"
    if promote != "ask":
        return f"no approval needed: the form says promote: {promote}"
    return None


def _body(plan: RunPlan, verdict: Verdict) -> str:
    from sqltune.evaluation import stored

    recorded = stored.verdict(plan.key)
    table = recorded.table if recorded else ""
    trained_on = f"The gate passed it. Trained on {plan.dataset_repo} at {plan.dataset_commit[:12]}."
    rules = "\n".join(f"- {rule.id}: {rule.explanation}" for rule in verdict.rules)
    return f"{trained_on}\n\n```\n{table}\n```\n\n{rules}"
