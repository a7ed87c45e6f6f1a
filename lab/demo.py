"""Trigger the chain and follow it to its end: a live display in a terminal, plain lines elsewhere."""

from __future__ import annotations

import json
import os
from typing import Any

from lab import credentials
from lab.airflow_api import Airflow
from lab.follow import DAG, Follow, read
from lab.settings import DATA, LAB, Settings
from sqltune.evaluation.report import run_report
from sqltune.evaluation.score import Score
from sqltune.evaluation.verdict import RecordedVerdict


def arguments() -> dict[str, Any]:
    """The form's values from ARGS (JSON) and DATASET; SystemExit when they can't be read."""
    text = os.environ.get("ARGS", "").strip()
    try:
        conf = json.loads(text) if text else {}
    except ValueError as e:
        raise SystemExit(
            f"ARGS is not JSON ({e}); an example: make demo ARGS='{{\"max_steps\": 20}}'"
        ) from None
    if not isinstance(conf, dict):
        raise SystemExit(
            f"ARGS is {type(conf).__name__}, an object of form values is wanted, such as '{{\"max_steps\": 20}}'"
        )
    which = os.environ.get("DATASET", "")
    if which == "dusql":
        if not (DATA / "hub_dataset" / "train.jsonl").exists():
            raise SystemExit(
                "DATASET=dusql: hub_dataset/train.jsonl is not there: set SQLTUNE_DATA to the folder that holds it"
            )
        conf = {"recipe": "lab_dusql"} | conf
    elif which:
        raise SystemExit(f"DATASET: {which!r} is not known (there is: dusql)")
    return conf


def connect(s: Settings) -> Airflow:
    """Airflow with the lab's connections and variables in it."""
    airflow = Airflow(s.airflow_url, credentials.USER, credentials.password())
    from lab.network import connections

    for connection in connections(s):
        airflow.put_connection(connection)
    key = os.environ.get("ZHIPUAI_API_KEY")
    airflow.put_connection(
        {
            "connection_id": "sqltune_glm",
            "conn_type": "http",
            "description": "The hosted reference",
            "host": "" if key else s.glm,
            "password": key or "stand-in.stand-in",
            "extra": json.dumps(
                {"model": "glm-4", "max_calls": 50}
                if key
                else {"model": "stand-in", "label": "stand-in for glm-4", "price": 0}
            ),
        }
    )
    airflow.wait_for_dag(DAG)
    return airflow


def failed_words(airflow: Airflow, run_id: str) -> str:
    """The first failed task and the last lines of its log."""
    for t in airflow.tasks(DAG, run_id):
        if t["state"] == "failed":
            lines = [
                line
                for line in airflow.log(DAG, run_id, t["task_id"], t["try_number"], t["map_index"])
                if line.strip()
            ]
            return f"{t['task_id']} failed:\n" + "\n".join(lines[-25:])
    return "no task failed"


def demo(s: Settings, conf: dict[str, Any]) -> int:
    """Trigger, follow, report; 0 only when the run is green."""
    airflow = connect(s)
    under_way = airflow.get(f"/dags/{DAG}/dagRuns", state="running", order_by="-run_after")["dag_runs"]
    if under_way and not conf:
        run_id = under_way[0]["dag_run_id"]
        print("a run is under way: following it")
    else:
        run_id = airflow.trigger(DAG, conf)
        if under_way:
            print(
                f"{under_way[0]['dag_run_id']} is under way, and one run trains at a time: this one begins after it"
            )
    print(
        f"run {run_id}: {s.airflow_url}/dags/{DAG}/runs/{run_id}  ({credentials.USER} / {credentials.password()})"
    )
    follow = Follow(airflow, run_id)
    state = follow.until_the_end()
    before, after = (read(follow.record / f"{which}.json") for which in ("before", "after"))
    verdict = read(follow.record / "verdict.json")
    champion = read(LAB / "records" / "champion-lab.json")
    report = {
        "run_id": run_id,
        "state": state,
        "airflow_url": s.airflow_url,
        "user": credentials.USER,
        "password": credentials.password(),
        "endpoint": s.endpoint,
        "mlflow_url": s.mlflow,
        "model": "text2sql" if champion else None,
        "before": before and {k: before[k] for k in ("questions", "matched")},
        "after": after and {k: after[k] for k in ("questions", "matched")},
    }
    path = LAB / "demo.json"
    path.touch(mode=0o600)
    path.write_text(json.dumps(report, indent=1))
    nothing_new = (read(follow.record / "state.json") or {}).get("nothing_new")
    if state != "success":
        print(failed_words(airflow, run_id))
    elif nothing_new:
        print(
            f"\nnothing new: {nothing_new} trained and judged this very plan. To train again: make demo ARGS='{{\"force\": true}}'"
        )
    elif verdict:
        scores = Score.model_validate(before), Score.model_validate(after)
        print(f"\n{run_report(*scores, RecordedVerdict.model_validate(verdict))}")
    print(f"""
Airflow   {s.airflow_url}  ({credentials.USER} / {credentials.password()})
MLflow    {s.mlflow}
model     {s.endpoint}  ({"text2sql" if champion else "nothing is served yet"})

try next  make ask Q='部门中有多少人年龄大于56岁？' C='CREATE TABLE head (age INTEGER)'
          make demo ARGS='{{"learning_rate": 0.0005, "force": true}}'     another run, from the form's values
          make down                                                  stop everything""")
    return 0 if state == "success" else 1
