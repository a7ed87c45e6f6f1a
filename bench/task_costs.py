"""Where the seconds of one run went, task by task: before it started, starting, on the hosts, ending.

From Airflow's task instances and the milestones of the run's gangs. What Airflow costs is `before`,
`starting` and `ending` of the tasks that run one after another.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from lab.airflow_api import Airflow
from sqltune.records import attempts
from sqltune.records.attempts import Attempt
from ssh_gang.model import slug

HEADINGS = ("task", "before", "starting", "on the hosts", "ending", "in all", "by hand")


@dataclass(frozen=True)
class TaskCost:
    """Seconds of one task; `starting`, `on_hosts` and `ending` are None where it is no gang.

    Attributes:
        task: Its id.
        before: From the end of the last task that it waited for to the start of its process.
        starting: From the start of its process to the moment at which the hosts are queried.
        on_hosts: From there to the end of the last host's job.
        ending: From there to the end of the task.
        seconds: From the start of its process to its end.
    """

    task: str
    before: float
    starting: float | None
    on_hosts: float | None
    ending: float | None
    seconds: float


def of_run(airflow: Airflow, dag_id: str, run_id: str) -> list[TaskCost]:
    """The costs of a run's tasks, in the order in which they started; skipped ones started nothing."""
    tasks = [task for task in airflow.tasks(dag_id, run_id) if task["state"] == "success"]
    run = airflow.get(f"/dags/{dag_id}/dagRuns/{run_id}")
    graph = airflow.get(f"/dags/{dag_id}/tasks")["tasks"]
    gangs = {attempt.task: attempt for attempt in attempts.of_run(slug(run_id))}
    began = datetime.fromisoformat(run["queued_at"])
    return [_cost(task, _ready(task, tasks, graph, began), gangs.get(task["task_id"])) for task in tasks]


def _ready(task: Mapping[str, Any], tasks: Sequence[Any], graph: Sequence[Any], began: datetime) -> datetime:
    """When the last task directly before this one had ended; a skipped one counts as not there."""
    before = {node["task_id"] for node in graph if task["task_id"] in node["downstream_task_ids"]}
    return max([began, *(_end(other) for other in tasks if other["task_id"] in before)])


def _cost(task: Any, ready: datetime, gang: Attempt | None) -> TaskCost:
    start, end = datetime.fromisoformat(task["start_date"]), _end(task)
    starting = on_hosts = ending = None
    if gang and gang.submitted_at and gang.ended_at:
        starting = (gang.submitted_at - start).total_seconds()
        on_hosts = (gang.ended_at - gang.submitted_at).total_seconds()
        ending = (end - gang.ended_at).total_seconds()
    name = task["task_id"] + (f"[{task['map_index']}]" if task["map_index"] >= 0 else "")
    before, seconds = (start - ready).total_seconds(), (end - start).total_seconds()
    return TaskCost(name, before, starting, on_hosts, ending, seconds)


def _end(task: Any) -> datetime:
    return datetime.fromisoformat(task["end_date"])


def table(costs: Sequence[TaskCost], by_hand: Mapping[str, float]) -> str:
    """The costs as a table in Markdown, beside the seconds of the same commands typed by hand."""
    rows = [HEADINGS, ["---", *["--:"] * (len(HEADINGS) - 1)], *(_row(cost, by_hand) for cost in costs)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _row(cost: TaskCost, by_hand: Mapping[str, float]) -> list[str]:
    hand = by_hand.get(cost.task.removesuffix("[0]"))
    numbers = (cost.before, cost.starting, cost.on_hosts, cost.ending, cost.seconds, hand)
    return [cost.task, *("" if number is None else f"{number:.1f}" for number in numbers)]
