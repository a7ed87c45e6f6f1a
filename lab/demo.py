"""Trigger the chain and follow it to its end: a live display in a terminal, plain lines elsewhere."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from lab import services
from lab.airflow_api import Airflow
from lab.settings import DATA, LAB, ROOT, Settings

sys.path.insert(0, str(ROOT / "plugins"))
from sqltune.records.files import Record
from ssh_gang.model import slug
from ssh_gang.progress import Progress

DAG = "text2sql_retrain"
_SIGNS = {
    "success": "[green]✔[/]",
    "failed": "[red]✘[/]",
    "running": "[yellow]▶[/]",
    "deferred": "[yellow]▶[/]",
    "skipped": "[dim]–[/]",
    "queued": "[dim]…[/]",
    "up_for_retry": "[yellow]↻[/]",
}


def read(path: Path) -> Any:
    """JSON, or None where it is not there yet."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None


class Follow:
    """What is known of a run while it is followed."""

    def __init__(self, airflow: Airflow, run_id: str) -> None:
        self.airflow, self.run_id = airflow, run_id
        self.record = LAB / "records" / "runs" / slug(run_id)
        self.tasks: list[dict[str, Any]] = []
        self.state = "queued"
        self._said: dict[tuple[str, int], str] = {}
        self._said_progress = ""

    def look(self) -> bool:
        """Ask Airflow; whether the run has ended."""
        self.state = self.airflow.run(DAG, self.run_id)["state"]
        self.tasks = self.airflow.tasks(DAG, self.run_id)
        return self.state in ("success", "failed")

    def progress(self) -> str:
        """What the task that runs is at: iterations and each host's state, or questions answered."""
        running = [t["task_id"] for t in self.tasks if t["state"] in ("running", "deferred")]
        if "train" in running:
            last = Record(self.record).last("progress")
            hosts = read(self.record / "hosts.json") or {}
            at = str(Progress.model_validate(last["progress"])) if last else "loading the model"
            return " · ".join([at, *(f"{h} {s}" for h, s in hosts.items())])
        if "before.ask" in running or "after.ask" in running:
            asked = read(self.record / "asked.json")
            if asked and f"{asked['which']}.ask" in running:
                return f"{asked['done']}/{asked['of']} questions answered"
        return ""

    def lines(self) -> list[str]:
        """What is new since the last call, as plain lines."""
        found = []
        for t in self.tasks:
            key = (t["task_id"], t["map_index"])
            if (
                t["state"]
                and t["state"] not in ("scheduled", "queued", "upstream_failed")
                and self._said.get(key) != t["state"]
            ):
                self._said[key] = t["state"]
                took = (
                    f" in {t['duration']:.0f} s"
                    if t["duration"] and t["state"] in ("success", "failed")
                    else ""
                )
                index = f"[{t['map_index']}]" if t["map_index"] >= 0 else ""
                found.append(f"{time.strftime('%H:%M:%S')} {t['task_id']}{index}: {t['state']}{took}")
        progress = self.progress()
        if progress and progress != self._said_progress:
            self._said_progress = progress
            found.append(f"{time.strftime('%H:%M:%S')}   {progress}")
        return found

    def picture(self) -> Group:
        """The live display."""
        table = Table(box=None, show_header=False, pad_edge=False)
        for t in self.tasks:
            if t["state"] in (None, "scheduled", "upstream_failed"):
                continue
            index = f"[{t['map_index']}]" if t["map_index"] >= 0 else ""
            table.add_row(
                _SIGNS.get(t["state"], t["state"]),
                Text(t["task_id"] + index),
                f"{t['duration']:.0f} s" if t["duration"] else "",
            )
        return Group(Text(f"{DAG} {self.run_id}"), table, Text(self.progress(), style="cyan"))

    def until_the_end(self) -> str:
        """Show the run until it has ended; its state."""
        console = Console()
        if not console.is_terminal:
            while True:
                ended = self.look()
                for line in self.lines():
                    print(line, flush=True)
                if ended:
                    return self.state
                time.sleep(1)
        with Live(console=console, refresh_per_second=4) as live:
            while not self.look():
                live.update(self.picture())
                time.sleep(1)
            live.update(self.picture())
        return self.state


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
    airflow = Airflow(s.airflow_url, services.USER, services.password())
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
        f"run {run_id}: {s.airflow_url}/dags/{DAG}/runs/{run_id}  ({services.USER} / {services.password()})"
    )
    follow = Follow(airflow, run_id)
    state = follow.until_the_end()
    scores = {
        which: {k: found[k] for k in ("questions", "matched")}
        if (found := read(follow.record / f"{which}.json"))
        else None
        for which in ("before", "after")
    }
    verdict = read(follow.record / "verdict.json")
    champion = read(LAB / "records" / "champion-lab.json")
    report = {
        "run_id": run_id,
        "state": state,
        "airflow_url": s.airflow_url,
        "user": services.USER,
        "password": services.password(),
        "endpoint": s.endpoint,
        "mlflow_url": s.mlflow,
        "model": "text2sql" if champion else None,
        "before": scores["before"],
        "after": scores["after"],
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
        rules = "\n".join(
            f"  {'ok' if r['passed'] else 'NO'}  {r['name']}: {r['found']}" for r in verdict["rules"]
        )
        print(
            f"\n{verdict['table']}\n\nverdict: {'let through' if verdict['passed'] else 'held back, the champion stays'}\n{rules}"
        )
    print(f"""
Airflow   {s.airflow_url}  ({services.USER} / {services.password()})
MLflow    {s.mlflow}
model     {s.endpoint}  ({"text2sql" if champion else "nothing is served yet"})

try next  make ask Q='部门中有多少人年龄大于56岁？' C='CREATE TABLE head (age INTEGER)'
          make demo ARGS='{{"learning_rate": 0.0005, "force": true}}'     another run, from the form's values
          make down                                                  stop everything""")
    return 0 if state == "success" else 1
