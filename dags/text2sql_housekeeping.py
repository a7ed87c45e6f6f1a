"""Every ten minutes: end training that no task needs, send MLflow what it lacks, look after disks and logs.

**reap.** A run ends its own ranks when it fails, is cleared or is marked by hand. What remains is what no
callback of a run can catch: a run that was ended by hand or timed out while no triggerer was alive, and was
perhaps deleted afterwards. This task lists the running gangs on each cluster's hosts, and looks up their
tasks in Airflow. It stops a gang whose task has ended or no longer exists. It does not touch the gangs of
another Airflow, or processes that do not belong to a gang.

**send_to_mlflow.** Sends MLflow the versions and promotions that were made while it did not answer, in order.

**check_disks.** Sends an alert when little space is free in the hosts' work folders, or where the logs are:
once, and again after there was enough in between.

**retention.** Once a day, removes the logs and series of old runs, and reports the sizes of what is left.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import CronTriggerTimetable, dag, task

from sqltune.config.loading import cluster_names
from sqltune.environment import setting
from sqltune.operators.reap import reap_orphans
from sqltune.tasks.interface import apply_retention, check_disks, send_to_mlflow

SCHEDULE = setting("SQLTUNE_HOUSEKEEPING_SCHEDULE", "*/10 * * * *")


@dag(
    dag_id="text2sql_housekeeping",
    description="End training that no task needs; send MLflow what it lacks; disks; old logs and series",
    doc_md=__doc__,
    schedule=CronTriggerTimetable(SCHEDULE, timezone="UTC"),
    catchup=False,
    # Active from the start: a DAG that ends forgotten training would be forgotten itself.
    is_paused_upon_creation=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(minutes=30),
    tags=["text2sql", "housekeeping"],
    default_args={"owner": "sqltune"},
)
def text2sql_housekeeping() -> None:
    """One task for each cluster, and one for each other subject."""
    reap = task(task_id="reap", execution_timeout=timedelta(minutes=15))(reap_orphans)
    reap.expand(cluster=cluster_names())
    task(task_id="send_to_mlflow", execution_timeout=timedelta(minutes=10))(send_to_mlflow)()
    task(task_id="check_disks", execution_timeout=timedelta(minutes=5))(check_disks)()
    task(task_id="retention", execution_timeout=timedelta(minutes=25))(apply_retention)()


text2sql_housekeeping()
