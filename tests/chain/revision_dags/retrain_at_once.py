"""text2sql_retrain with its real schedule and its real task `plan`; the training ends at once, or by a test.

`plan` reads the form, asks the hub, claims the revision and waits for its turn, as in the real DAG. What
follows it there takes hosts and minutes; here one task records the verdict, which makes a revision trained.
While the file `hold` lies in Airflow's home, it waits as the real training does: deferred, until `go` is
there.
"""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.providers.standard.triggers.file import FileTrigger
from airflow.sdk import BaseOperator, dag, task

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

    def execute(self, context: Any) -> None:
        if (HOME / "hold").exists():
            self.defer(trigger=FileTrigger(str(HOME / "go"), poke_interval=0.2), method_name="judge")
        self.judge(context)

    def judge(self, context: Any, event: Any = None) -> None:
        from sqltune.config.plan import RunPlan
        from sqltune.records import claims, verdicts

        made = RunPlan.model_validate(self.plan)
        verdicts.put(made.key, passed=False, table="", decision={}, rules=[])
        claims.release(made.fingerprint, made.run_id)


@dag(
    dag_id="text2sql_retrain",
    schedule=schedule("0 2 * * *", "text2sql_retrain"),
    catchup=False,
    max_active_runs=1,
    params=params(),
)
def text2sql_retrain() -> None:
    plan = task.short_circuit(task_id="plan", **RETRY)(planned.plan)()
    Training(task_id="gate", plan=plan, **RETRY)


text2sql_retrain()
