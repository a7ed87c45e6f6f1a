"""
Serve another version: promote one that is registered, or go back to the one before.

Trigger it as it opens to roll back: the version that served before the champion serves again. Or name a version: MLflow's page lists them, and so does
`python -m sqltune.registry.versions --versions`. What serves is not touched before the other one has answered a real prompt; no request fails meanwhile.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import Param, dag, task

from sqltune.config.form import cluster_param
from sqltune.tasks import promote


@dag(
    dag_id="text2sql_promote",
    description="Serve another version, or roll back to the one before",
    doc_md=__doc__,
    schedule=None,
    catchup=False,
    # A roll back is not the moment to look for the switch.
    is_paused_upon_creation=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(hours=2),
    params={
        "version": Param(
            None,
            type=["null", "integer"],
            minimum=1,
            title="Version",
            description="Number of a registered version. Empty: the one that served before the champion.",
        ),
        "reason": Param(
            "no reason given",
            type="string",
            minLength=1,
            maxLength=200,
            title="Reason",
            description="What the journal says about it.",
        ),
        "cluster": cluster_param(),
    },
    tags=["text2sql", "serving"],
    default_args={"owner": "sqltune", "retries": 1, "retry_delay": timedelta(seconds=20)},
)
def text2sql_promote():
    chosen = task(promote.choose_version, task_id="choose", execution_timeout=timedelta(minutes=5))()
    task(promote.serve_chosen, task_id="serve", execution_timeout=timedelta(minutes=40))(chosen)


text2sql_promote()
