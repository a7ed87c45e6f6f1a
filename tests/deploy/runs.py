"""What a run of a deployment does, as its users see it."""

from __future__ import annotations

import httpx

from lab.airflow_api import Airflow
from ssh_gang.model import slug
from tests.deploy.stack import DAG
from tests.waiting import wait_until


def until_ended(airflow: Airflow, run: str, seconds: float = 600, dag: str = DAG) -> str:
    """Wait until a run has ended; return its state."""
    ended = ("success", "failed")
    wait_until(
        lambda: airflow.run_state(dag, run) in ended,
        seconds,
        lambda: (states(airflow, run, dag), failures(airflow, run, dag)),
        httpx.HTTPError,
        pause=1,
    )
    return str(airflow.run_state(dag, run))


def states(airflow: Airflow, run: str, dag: str = DAG) -> dict[str, str | None]:
    """States of a run's tasks."""
    return {task["task_id"]: task["state"] for task in airflow.tasks(dag, run)}


def failures(airflow: Airflow, run: str, dag: str = DAG) -> str:
    """The end of the logs of the tasks that failed."""
    failed = [t for t in airflow.tasks(dag, run) if t["state"] in ("failed", "up_for_retry")]
    logs = [airflow.log(dag, run, t["task_id"], t["try_number"], t["map_index"])[-15:] for t in failed]
    return "\n".join(f"{t['task_id']}: " + "\n".join(log) for t, log in zip(failed, logs, strict=True))


def step(airflow: Airflow, run: str) -> int:
    """The newest iteration on the page; 0 before the first."""
    headers = {"Authorization": f"Bearer {airflow.token}"}
    answer = httpx.get(f"{airflow.url}/sqltune/api/v1/runs/{slug(run)}", headers=headers, trust_env=False)
    answer.raise_for_status()
    trained = answer.json()["training"]
    return trained["step"] if trained else 0


def until_step(airflow: Airflow, run: str, than: int) -> None:
    """Wait until an iteration after this one is on the page."""
    wait_until(
        lambda: step(airflow, run) > than, 300, lambda: failures(airflow, run), httpx.HTTPError, pause=1
    )
