"""The tests' own lab, with a tiny random Llama: it learns nothing, but the chain takes every path."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psycopg2
import pytest

from include.node.proc_net import LISTEN, inodes
from lab.airflow_api import Airflow
from lab.network import connections
from lab.settings import Settings
from sqltune.records import database
from tests.browser import browser, open_page
from tests.conftest import BASE, ROOT, free_port
from tests.sqltune.alerts.services import Services, http_server
from tests.waiting import wait_until

DAG = "text2sql_retrain"
STATE = BASE / "e2e"
API_KEY = "key-of-the-tests"
FORM = {"recipe": "lab_tiny"}


class Lab:
    """The tests' lab, by its command line."""

    def __init__(self) -> None:
        self.alerts = Services()
        # The recipe is the form's default too: its revisions are watched, and listed by a backfill.
        self.env = os.environ | {
            "SQLTUNE_RECIPE": FORM["recipe"],
            "SQLTUNE_LAB_STATE": str(STATE),
            # Reading DAG files that do not change takes a tenth of a core.
            "SQLTUNE_PARSE_SECONDS": "600",
            "SQLTUNE_AIRFLOW_PORT": str(free_port()),
            "ARGS": json.dumps(FORM),
            "SQLTUNE_LAB_API_KEY_ENV": "SQLTUNE_LAB_API_KEY",
            "SQLTUNE_LAB_API_KEY": API_KEY,
        }
        for name in [n for n in self.env if n.startswith("AIRFLOW")]:
            del self.env[name]

    def run(self, verb: str, timeout: float = 1600) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "lab", verb],
            cwd=ROOT,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=timeout,
            stdin=subprocess.DEVNULL,
        )

    def supervisor(self, *arguments: str) -> str:
        return subprocess.run(
            [BASE / "control-env/bin/supervisorctl", "-c", STATE / "supervisord.conf", *arguments],
            capture_output=True,
            text=True,
            timeout=60,
        ).stdout

    @property
    def socket_folder(self) -> str:
        """Where the lab's PostgreSQL listens."""
        return re.search(r"pidfile=(.*)/supervisord.pid", (STATE / "supervisord.conf").read_text())[1]

    def read_records(self, patch: pytest.MonkeyPatch) -> None:
        """Make this process read the lab's records."""
        url = f"postgresql+psycopg2://airflow@/sqltune?host={self.socket_folder}"
        patch.setenv("SQLTUNE_DATABASE_URL", url)
        patch.setenv("SQLTUNE_HOME", str(STATE / "records"))

    def sql(self, statement: str, *values: Any) -> None:
        """Change Airflow's database: the only way to let a week pass at once."""
        with (
            contextlib.closing(
                psycopg2.connect(host=self.socket_folder, user="airflow", dbname="airflow")
            ) as database,
            database,
            database.cursor() as cursor,
        ):
            cursor.execute(statement, values)
            assert cursor.rowcount == 1, cursor.rowcount

    @property
    def report(self) -> dict[str, Any]:
        return json.loads((STATE / "demo.json").read_text())

    @property
    def airflow(self) -> Airflow:
        return Airflow(
            f"http://127.0.0.1:{self.env['SQLTUNE_AIRFLOW_PORT']}",
            "admin",
            json.loads((STATE / "secrets/passwords.json").read_text())["admin"],
        )

    def until_ended(self, run_id: str, seconds: float = 800, dag: str = DAG) -> tuple[str, dict[str, str]]:
        """State of a run when it has ended, and of its tasks."""
        airflow = self.airflow
        deadline = time.monotonic() + seconds
        while (state := airflow.run_state(dag, run_id)) not in ("success", "failed"):
            assert time.monotonic() < deadline, [
                (t["task_id"], t["state"]) for t in airflow.tasks(dag, run_id)
            ]
            time.sleep(0.5)
        return state, {
            t["task_id"] + (f"[{t['map_index']}]" if t["map_index"] >= 0 else ""): t["state"]
            for t in airflow.tasks(dag, run_id)
        }

    def clear(self, run_id: str, task_id: str) -> None:
        """Clear a task of a run, and what follows it."""
        answer = self.airflow.call(
            "POST",
            f"/dags/{DAG}/clearTaskInstances",
            json={
                "dry_run": False,
                "dag_run_id": run_id,
                "task_ids": [task_id],
                "only_failed": False,
                "include_downstream": True,
                "reset_dag_runs": True,
            },
        )
        assert answer.status_code == 200, answer.text

    def log_text(self, run_id: str, task_id: str, map_index: int = -1, dag: str = DAG) -> str:
        """A task's log."""
        tries = next(
            t["try_number"]
            for t in self.airflow.tasks(dag, run_id)
            if (t["task_id"], t["map_index"]) == (task_id, map_index)
        )
        return "\n".join(self.airflow.log(dag, run_id, task_id, tries, map_index))

    def send_alerts_to(self, port: int) -> None:
        """Make a webhook of this machine the one that is told by alerts."""
        config = [{"path": f"json://127.0.0.1:{port}"}]
        self.airflow.put_connection(
            {
                "connection_id": "sqltune_alerts",
                "conn_type": "apprise",
                "extra": json.dumps({"config": config}),
            }
        )

    def alert(self, run_id: str, title: str) -> str:
        """The message of a run's first alert with this title, once it has come."""

        def found() -> list[str]:
            bodies = [request.body for request in self.alerts.received]
            messages = [body["message"] for body in bodies if body["title"] == f"[sqltune] {title}"]
            return [message for message in messages if f"Run: {run_id}\n" in message]

        return wait_until(found, 60, lambda: [r.body for r in self.alerts.received])[0]

    def completion(self, key: str = API_KEY) -> httpx.Response:
        """What the served model answers."""
        body = {"model": "text2sql", "prompt": "SELECT", "max_tokens": 4, "temperature": 0}
        return httpx.post(
            f"{self.report['endpoint']}/completions",
            json=body,
            headers={"Authorization": f"Bearer {key}"},
            timeout=60,
            trust_env=False,
        )


def answer_approval(lab: Lab, run: str, option: str) -> None:
    """Wait for the approval request, and answer it as Airflow's page does.

    Answers again if the task's retry requests approval again, as ModelApprovalOperator documents.
    """
    deadline = time.monotonic() + 800
    path = f"/dags/{DAG}/dagRuns/{run}/taskInstances/approve"
    answered = 0
    while (task := lab.airflow.get(path))["state"] not in ("success", "failed"):
        assert time.monotonic() < deadline, lab.airflow.tasks(DAG, run)
        if task["state"] == "awaiting_input" and task["try_number"] > answered:
            request = lab.airflow.get(f"{path}/-1/hitlDetails")
            assert "execution match" in request["body"]
            assert f"Serve the new model of {run} on lab?" in request["subject"]
            response = lab.airflow.call(
                "PATCH", f"{path}/-1/hitlDetails", json={"chosen_options": [option], "params_input": {}}
            )
            assert response.status_code == 200, response.text
            answered = task["try_number"]
        time.sleep(0.5)
    assert answered


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """A fresh lab, and its first run; nothing of it is left afterwards."""
    patch = pytest.MonkeyPatch()
    lab = Lab()
    lab.run("down")
    subprocess.run(["rm", "-rf", str(STATE)], check=True)
    with http_server(lab.alerts) as port:
        try:
            started = lab.run("airflow")
            assert started.returncode == 0, started.stdout[-4000:] + started.stderr[-2000:]
            lab.send_alerts_to(port)
            first = lab.run("demo")
            (BASE / "logs" / "e2e-demo.log").write_text(first.stdout + first.stderr)
            assert first.returncode == 0, first.stdout[-4000:] + first.stderr[-2000:]
            lab.read_records(patch)
            lab.first, lab.first_run = first.stdout, lab.report["run_id"]  # type: ignore[attr-defined]
            settings = lab_settings()
            yield lab
        finally:
            database.close()
            patch.undo()
            down = lab.run("down")
            assert "no process of the lab is left" in down.stdout, down.stdout + down.stderr
            assert _left() == []
    # Airflow's log servers overwrite their environment, and the lab's mark with it.
    assert [port for port in (settings.log_port, settings.trigger_log_port) if inodes(port, LISTEN)] == []


@pytest.fixture
def connected(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lab's Connections for this process, as Airflow has them."""
    for c in host_connections():
        value = {k: v for k, v in c.items() if k != "connection_id"} | {"extra": json.loads(c["extra"])}
        monkeypatch.setenv(f"AIRFLOW_CONN_{str(c['connection_id']).upper()}", json.dumps(value))


def lab_settings() -> Settings:
    """What the lab was started with."""
    return Settings(**json.loads((STATE / "lab.json").read_text()))


def host_connections() -> list[dict[str, Any]]:
    """The Connections of the lab's hosts, as Airflow's API takes them."""
    extra = {"key_file": str(STATE / "keys/id_ed25519"), "known_hosts": str(STATE / "keys/known_hosts")}
    return [c | {"extra": json.dumps(extra)} for c in connections(lab_settings())]


def _left() -> list[str]:
    return command_lines(f"SQLTUNE_LAB_MARK={STATE}\0")


def command_lines(variable: str) -> list[str]:
    """The command lines of the processes whose environment holds a text."""
    found = []
    for p in Path("/proc").glob("[0-9]*"):
        try:
            if variable.encode() in (p / "environ").read_bytes():
                found.append((p / "cmdline").read_text().replace("\0", " "))
        except OSError:
            continue
    return found


__all__ = ["browser", "open_page"]
