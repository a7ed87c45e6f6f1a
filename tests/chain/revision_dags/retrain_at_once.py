"""text2sql_retrain with its real schedule and its real task `plan`; the training ends at once.

`plan` reads the form, asks the hub, claims the revision and waits for its turn, as in the real DAG. What
follows it there takes hosts and minutes; here one task records the verdict, which makes a revision trained,
and tells of it as the real task `gate` does.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import dag, task

from sqltune.alerts.notifier import HeldBack
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

    @task(task_id="gate", on_success_callback=HeldBack(), **RETRY)
    def judge(plan: dict) -> dict:
        from sqltune.config.plan import RunPlan
        from sqltune.evaluation import stored
        from sqltune.evaluation.statistics import compare
        from sqltune.evaluation.verdict import RecordedVerdict, RuleResult
        from sqltune.records import claims

        made = RunPlan.model_validate(plan)
        rule = RuleResult(id="min_gain", passed=False, value=0, limit=0.005, explanation="0.0 points")
        verdict = RecordedVerdict(passed=False, rules=(rule,), comparison=compare(100, 0, 0), table="")
        stored.put_verdict(made.key, verdict)
        claims.release(made.fingerprint, made.run_id)
        return verdict.model_dump(mode="json", exclude={"table"})

    judge(plan)


text2sql_retrain()
