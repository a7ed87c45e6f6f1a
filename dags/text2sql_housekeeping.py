"""
Every ten minutes: end training that nobody wants any more, and tell MLflow what it has not heard.

**reap.** A run ends its own ranks: when it fails, is cleared, or marked by hand. What is left here is what nothing in a run can catch: a run that
was ended by hand or timed out while no triggerer lived, and perhaps deleted then. Each cluster's hosts are asked for gangs that run, Airflow for their tasks;
a gang whose task has ended, or is not there, is stopped. Gangs of another Airflow, and processes that are not ours, are left alone.

**tell_mlflow.** Versions and promotions that were made while MLflow did not answer are told to it, in their order.
"""

from __future__ import annotations

import os
from datetime import timedelta

from airflow.sdk import CronTriggerTimetable, dag, task

from sqltune.config.loading import cluster_names
from sqltune.operators.reap import reap_orphans
from sqltune.tasks import mlflow

SCHEDULE = os.environ.get("SQLTUNE_HOUSEKEEPING_SCHEDULE", "*/10 * * * *")


@dag(
    dag_id="text2sql_housekeeping",
    description="End training that nobody wants any more; tell MLflow what it has not heard",
    doc_md=__doc__,
    schedule=CronTriggerTimetable(SCHEDULE, timezone="UTC"),
    catchup=False,
    # From the moment it is there: nobody thinks of switching on what ends forgotten training.
    is_paused_upon_creation=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(minutes=30),
    tags=["text2sql", "housekeeping"],
    default_args={"owner": "sqltune"},
)
def text2sql_housekeeping():
    task(reap_orphans, task_id="reap", execution_timeout=timedelta(minutes=15)).expand(
        cluster=cluster_names()
    )
    task(mlflow.tell_mlflow, task_id="tell_mlflow", execution_timeout=timedelta(minutes=10))()


text2sql_housekeeping()
