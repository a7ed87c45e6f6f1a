"""Watch the dataset's branch, and list the revisions that wait.

The asset's watcher runs in the triggerer as long as this DAG is switched on. It records each new commit; the
schedule of text2sql_retrain reads the records and starts the runs, by the recipe's policy. A run of this DAG
is an event of the watcher: its log says which revisions wait, and for what. Nothing depends on it.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import dag, task

from sqltune.tasks.interface import list_waiting
from sqltune.triggers.revisions import dataset_asset


@dag(
    dag_id="text2sql_revisions",
    description="Watch the dataset's branch; list the revisions that wait",
    doc_md=__doc__,
    schedule=[dataset_asset()],
    catchup=False,
    # Active from the start: it records commits, and trains nothing unless the recipe says so.
    is_paused_upon_creation=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(minutes=10),
    tags=["text2sql", "dataset"],
    default_args={"owner": "sqltune", "retries": 1, "retry_delay": timedelta(seconds=20)},
)
def text2sql_revisions() -> None:
    """One task."""
    task(task_id="list_waiting", execution_timeout=timedelta(minutes=2))(list_waiting)()


text2sql_revisions()
