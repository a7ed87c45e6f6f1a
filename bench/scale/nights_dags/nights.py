"""text2sql_retrain with its real task `plan` and a gang on the plan's hosts, which only prints and waits.

What lies between the two there is left out: it takes what the commands on the hosts take.
"""

from __future__ import annotations

import os
from typing import Any

from airflow.sdk import dag, task

from sqltune.config.form import params
from sqltune.config.plan import RunPlan
from sqltune.operators.gang import PlanGangOperator
from sqltune.tasks import plan as planned
from ssh_gang.event import GangEvent
from ssh_gang.model import Gang, Member

GO = f"{os.environ['AIRFLOW_HOME']}/go"
"""When this file is there, all trainings end."""
# `read` waits without a process of its own.
TRAINING = (
    "echo $EPOCHREALTIME >~/trains; exec 3<> <(:); "
    f"until [ -e {GO} ]; do echo step $((++n))/99999; read -rt 1 -u 3; done; true"
)


class WaitingTraining(PlanGangOperator):
    """A line a second on each host until a file is there.

    It is not exclusive as the real one is: these hosts are one machine, and see the gangs of one another.
    """

    progress_pattern = r"step (?P<step>\d+)/(?P<total>\d+)"

    def members(self, plan: RunPlan, attempt: str) -> list[Member]:
        command = ["bash", "-c", TRAINING]
        return [
            Member(host=h.name, conn_id=h.conn_id, argv=command, cwd="~/work") for h in plan.cluster.hosts
        ]

    def judge(self, gang: Gang, event: GangEvent, output: str) -> Any:
        return event


# Sixteen at the same time, where the real DAG has one: its clusters would wait for one another.
@dag(dag_id="text2sql_retrain", schedule=None, max_active_runs=16, params=params())
def text2sql_retrain() -> None:
    plan = task.short_circuit(task_id="plan")(planned.plan)()
    WaitingTraining(task_id="train", plan=plan)


text2sql_retrain()
