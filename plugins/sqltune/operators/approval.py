"""A person in the loop: the verdict's table on Airflow's page, and two buttons under it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk.exceptions import AirflowSkipException

from sqltune.config.plan import RunPlan
from sqltune.evaluation.verdict import RecordedVerdict, Verdict
from sqltune.records.files import Record

if TYPE_CHECKING:
    from airflow.sdk import Context


class AskOperator(ApprovalOperator):
    """Wait for a person to approve a model that the gate let through, where the form says `ask`; skipped where it does not, or the gate held it back.

    A rejected model is held back: what comes directly after this task is skipped, and the run is green.

    Give it retries: an answer that comes within the scheduler's next look after the question (half a second) makes Airflow 3.3.2 fail the try ("executor
    reported success, but state is queued"), and drop the answer. The retry asks again; a person is not that fast, a script should look whether it was heard.

    :param plan: the `RunPlan` as JSON.
    :param verdict: what the gate decided.
    """

    template_fields = ("subject", "body", "plan", "verdict")

    def __init__(self, *, plan: Any, verdict: Any, **kwargs: Any) -> None:
        super().__init__(subject="Serve the new model?", **kwargs)
        self.plan = plan
        self.verdict = verdict

    def execute(self, context: Context) -> Any:
        plan = RunPlan.model_validate(self.plan)
        verdict = Verdict.model_validate(self.verdict)
        if plan.promote != "ask" or not verdict.passed:
            raise AirflowSkipException(
                "nobody is asked: "
                + ("the gate held the model back" if not verdict.passed else f"the form says {plan.promote}")
            )
        recorded = RecordedVerdict.model_validate(Record.of(plan.key).get("verdict"))
        rules = "\n".join(f"- {rule.id}: {rule.explanation}" for rule in verdict.rules)
        self.subject = f"Serve the new model of {plan.run_id} on {plan.cluster_name}?"
        self.body = f"The gate lets it through. Trained on {plan.dataset_repo} at {plan.dataset_commit[:12]}.\n\n```\n{recorded.table}\n```\n\n{rules}"
        self.log.info("%s\n%s", self.subject, self.body)
        return super().execute(context)
