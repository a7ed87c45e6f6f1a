"""text2sql_retrain with its real schedule and its real task `plan`; the training ends at once, or by a test.

`plan` reads the form, asks the hub, claims the revision and waits for its turn, as in the real DAG. What
follows it there takes hosts and minutes; here one task records the verdict, which makes a revision trained,
and tells of it as the real task `gate` does. While the file `hold` lies in Airflow's home, it waits as the
real training does: deferred, until `go` is there.
"""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.providers.standard.triggers.file import FileTrigger
from airflow.sdk import BaseOperator, dag, task

from sqltune.alerts.notifier import HeldBack
from sqltune.config.form import params
from sqltune.tasks import plan as planned
from sqltune.timetables.revisions import schedule

# A worker may be killed at any moment, again and again.
RETRY: dict[str, Any] = {"retries": 50, "retry_delay": timedelta(seconds=1)}
HOME = Path(os.environ["AIRFLOW_HOME"])


class Training(BaseOperator):
    """Records the verdict of a training that does nothing."""

    template_fields = ("plan",)

    def __init__(self, *, plan: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.plan = plan

    def execute(self, context: Any) -> Any:
        if (HOME / "hold").exists():
            self.defer(trigger=FileTrigger(str(HOME / "go"), poke_interval=0.2), method_name="judge")
        return self.judge(context)

    def judge(self, context: Any, event: Any = None) -> Any:
        from sqltune.config.plan import RunPlan
        from sqltune.evaluation import stored
        from sqltune.evaluation.statistics import compare
        from sqltune.evaluation.verdict import RecordedVerdict, RuleResult

        made = RunPlan.model_validate(self.plan)
        rule = RuleResult(id="min_gain", passed=False, value=0, limit=0.005, explanation="0.0 points")
        verdict = RecordedVerdict(passed=False, rules=(rule,), comparison=compare(100, 0, 0), table="")
        stored.put_verdict(made.key, verdict)
        return verdict.model_dump(mode="json", exclude={"table"})


@dag(
    dag_id="text2sql_retrain",
    schedule=schedule("0 2 * * *", "text2sql_retrain"),
    catchup=False,
    max_active_runs=1,
    params=params(),
)
def text2sql_retrain() -> None:
    plan = task.short_circuit(task_id="plan", **RETRY)(planned.plan)()
    Training(task_id="gate", plan=plan, on_success_callback=HeldBack(), **RETRY)


text2sql_retrain()
