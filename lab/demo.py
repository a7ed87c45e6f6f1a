"""Trigger the chain, follow it to its end and report."""

from __future__ import annotations

import json
import os
import sys
from urllib.parse import quote

from lab import credentials
from lab.airflow_api import Airflow
from lab.airflow_settings import records_env
from lab.follow import DAG, Follow
from lab.network import connections
from lab.settings import LAB, ROOT, Settings

sys.path.insert(0, str(ROOT / "plugins"))
from sqltune.evaluation import stored
from sqltune.evaluation.report import run_report
from sqltune.records import runs
from sqltune.records.evaluations import Phase
from sqltune.records.promotions import champion

PHASES: tuple[Phase, ...] = ("before", "after")
LOG_TAIL = 25
"""Lines that are shown of a failed task's log."""


def connect(s: Settings) -> Airflow:
    """Log in to Airflow, and put the lab's Connections into it."""
    airflow = Airflow(s.airflow_url, credentials.USER, credentials.password())
    for connection in [*connections(s), _hosted_reference(s)]:
        airflow.put_connection(connection)
    airflow.wait_for_dag(DAG)
    return airflow


def _hosted_reference(s: Settings) -> dict[str, object]:
    """The Connection of the hosted reference: the real one if ZHIPUAI_API_KEY is set, else the stand-in."""
    key = os.environ.get("ZHIPUAI_API_KEY")
    real = {"model": "glm-4", "max_calls": 50}
    stand_in = {"model": "stand-in", "label": "stand-in for glm-4", "price": 0}
    return {
        "connection_id": "sqltune_glm",
        "conn_type": "http",
        "description": "The hosted reference",
        "host": "" if key else s.glm,
        "password": key or "stand-in.stand-in",
        "extra": json.dumps(real if key else stand_in),
    }


def failure_report(airflow: Airflow, run_id: str) -> str:
    """The first failed task, and the last lines of its log."""
    failed = next((t for t in airflow.tasks(DAG, run_id) if t["state"] == "failed"), None)
    if failed is None:
        return "no task failed"
    log = airflow.log(
        DAG, run_id, failed["task_id"], try_number=failed["try_number"], map_index=failed["map_index"]
    )
    tail = [line for line in log if line.strip()][-LOG_TAIL:]
    return "\n".join([f"{failed['task_id']} failed:", *tail])


def demo(s: Settings, conf: dict[str, object]) -> int:
    """Trigger a run, follow it and report.

    Args:
        s: The lab that is up.
        conf: Values of the trigger form.

    Returns:
        0 only if the run succeeded.
    """
    os.environ.update(records_env())
    airflow = connect(s)
    run_id = _run_to_follow(airflow, conf)
    print(f"run {run_id}: {_page(s, run_id)}  ({_login()})")
    follow = Follow(airflow, run_id)
    state = follow.until_the_end()
    is_served = champion("lab") is not None
    _write_report(s, follow, is_served)
    print(_outcome(airflow, follow))
    print(_what_next(s, run_id, is_served))
    return 0 if state == "success" else 1


def _run_to_follow(airflow: Airflow, conf: dict[str, object]) -> str:
    """The run that is under way if the form is empty, else a new one."""
    running = airflow.get(f"/dags/{DAG}/dagRuns", state="running", order_by="-run_after")["dag_runs"]
    under_way = str(running[0]["dag_run_id"]) if running else None
    if under_way and not conf:
        print("a run is under way: following it")
        return under_way
    run_id = airflow.trigger(DAG, conf)
    if under_way:
        print(f"{under_way} is under way, and one run trains at a time: this one starts after it")
    return run_id


def _page(s: Settings, run_id: str) -> str:
    """The address of a run's page."""
    return f"{s.airflow_url}/dags/{DAG}/runs/{quote(run_id, safe='')}/plugin/text2sql"


def _login() -> str:
    return f"{credentials.USER} / {credentials.password()}"


def _write_report(s: Settings, follow: Follow, is_served: bool) -> None:
    """Write .lab/demo.json, the report for scripts."""
    report = {
        "run_id": follow.run_id,
        "state": follow.state,
        "airflow_url": s.airflow_url,
        "user": credentials.USER,
        "password": credentials.password(),
        "endpoint": s.endpoint,
        "mlflow_url": s.mlflow,
        "model": "text2sql" if is_served else None,
        "before": _counts(follow.run_key, "before"),
        "after": _counts(follow.run_key, "after"),
    }
    path = LAB / "demo.json"
    path.touch(mode=0o600)
    path.write_text(json.dumps(report, indent=1))


def _counts(run_key: str, phase: Phase) -> dict[str, int] | None:
    score = stored.score(run_key, phase) if runs.plan(run_key) else None
    return None if score is None else {"questions": score.questions, "matched": score.matched}


def _outcome(airflow: Airflow, follow: Follow) -> str:
    """The last part of the output: the failure, or the reference prompts, scores and verdict."""
    if follow.state != "success":
        return failure_report(airflow, follow.run_id)
    summary = runs.summary(follow.run_key)
    if summary and summary.same_as:
        return (
            f"\nnothing new: run {summary.same_as} trained and evaluated this very plan. "
            """To train again: make demo ARGS='{"force": true}'"""
        )
    verdict = stored.verdict(follow.run_key)
    if verdict is None:
        return ""
    before, after = (stored.required_score(follow.run_key, phase) for phase in PHASES)
    # The questions gained and lost are in the log of the task gate.
    return f"\n{run_report(before, after, verdict.without_answers)}"


def _what_next(s: Settings, run_id: str, is_served: bool) -> str:
    return f"""
the run   {_page(s, run_id)}  ({_login()})
MLflow    {s.mlflow}
model     {s.endpoint}  ({"text2sql" if is_served else "nothing is served yet"})

try next  make report                                                the run as one HTML file
          make ask Q='部门中有多少人年龄大于56岁？' C='CREATE TABLE head (age INTEGER)'
          make demo ARGS='{{"learning_rate": 0.0005, "force": true}}'     another run, from the form's values
          make down                                                  stop everything"""
