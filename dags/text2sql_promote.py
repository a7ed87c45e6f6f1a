"""Serve another version: promote a registered one, or roll back to the previous one.

With an empty form it rolls back: the version before the champion is served again. Otherwise name a version;
MLflow's page and `sqltune versions` list them. The current model is served until the new one has answered a
real prompt, and no request fails meanwhile.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import Param, dag, task

from sqltune.alerts.notifier import Promoted, RunFailed, leave_cause
from sqltune.config.form import cluster_param
from sqltune.tasks import champion, interface


@dag(
    dag_id="text2sql_promote",
    description="Serve another version, or roll back to the previous one",
    doc_md=__doc__,
    schedule=None,
    catchup=False,
    # Active from the start: a rollback must not wait for the DAG to be switched on.
    is_paused_upon_creation=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(hours=2),
    on_failure_callback=RunFailed(),
    params={
        "version": Param(
            None,
            type=["null", "integer"],
            minimum=1,
            title="Version",
            description="Number of a registered version. Empty: the one served before the champion.",
        ),
        "reason": Param(
            "no reason given",
            type="string",
            minLength=1,
            maxLength=200,
            title="Reason",
            description="Why, for the record of promotions.",
        ),
        "cluster": cluster_param(),
    },
    tags=["text2sql", "serving"],
    default_args={
        "owner": "sqltune",
        "retries": 1,
        "retry_delay": timedelta(seconds=20),
        "on_failure_callback": leave_cause,
    },
)
def text2sql_promote() -> None:
    """Choose the version, then serve it."""
    chosen = task(task_id="choose", execution_timeout=timedelta(minutes=5))(interface.choose_version)()
    serve = task(
        task_id="serve",
        execution_timeout=timedelta(minutes=40),
        on_success_callback=Promoted(),
        outlets=[champion.CHAMPION],
        post_execute=champion.announce,
    )
    serve(interface.serve_chosen)(chosen)


text2sql_promote()
