"""text2sql_retrain with its real schedule and its real task `plan`; the training ends at once.

`plan` reads the form, asks the hub, claims the revision and waits for its turn, as in the real DAG. What
follows it there takes hosts and minutes; here one task records the verdict, which makes a revision trained.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import dag, task

from sqltune.config.form import params
from sqltune.tasks import plan as planned
from sqltune.timetables.revisions import schedule

# A worker may be killed at any moment, again and again.
RETRY = {"retries": 50, "retry_delay": timedelta(seconds=1)}


@dag(
    dag_id="text2sql_retrain",
    schedule=schedule("0 2 * * *", "text2sql_retrain"),
    catchup=False,
    max_active_runs=1,
    params=params(),
)
def text2sql_retrain() -> None:
    plan = task.short_circuit(task_id="plan", **RETRY)(planned.plan)()

    @task(task_id="gate", **RETRY)
    def judge(plan: dict) -> None:
        from sqltune.config.plan import RunPlan
        from sqltune.records import claims, verdicts

        made = RunPlan.model_validate(plan)
        verdicts.put(made.key, passed=False, table="", decision={}, rules=[])
        claims.release(made.fingerprint, made.run_id)

    judge(plan)


text2sql_retrain()
