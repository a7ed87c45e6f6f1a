"""An Airflow whose components can be killed one by one, on PostgreSQL, with a hub that a test pushes to."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import yaml

from lab.airflow_api import Airflow
from lab.settings import REPO
from sqltune.config.paths import CONFIGS
from tests.changing_hub import ChangingHub
from tests.conftest import ROOT, free_port
from tests.databases import Postgres
from tests.plans import LAB
from tests.waiting import wait_until

AIRFLOW = Path(sys.executable).with_name("airflow")
DAG = "text2sql_retrain"
SECRET = "secret-of-these-tests-and-of-no-other-airflow-at-all-64-bytes-long"
RECIPE = "lab_tiny"


class Components:
    """Airflow's components, each a process group of its own."""

    def __init__(self, home: Path, env: dict[str, str]) -> None:
        self.home = home
        self.env = env
        self.running: dict[str, subprocess.Popen[bytes]] = {}

    def command(self, *arguments: str, timeout: float = 300) -> subprocess.CompletedProcess[str]:
        """Run a command of Airflow's, or fail with its output."""
        done = subprocess.run(
            [AIRFLOW, *arguments], env=self.env, capture_output=True, text=True, timeout=timeout
        )
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
        return done

    def start(self, name: str) -> None:
        """Start a component."""
        with (self.home / f"{name}.log").open("ab") as log:
            self.running[name] = subprocess.Popen(
                [AIRFLOW, name], env=self.env, stdout=log, stderr=log, start_new_session=True
            )

    def kill(self, name: str) -> None:
        """Kill a component and its children, without a warning."""
        process = self.running.pop(name)
        # Subprocesses with a group of their own end when their parent's pipe does.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(60)

    def stop(self) -> None:
        """End every component."""
        for process in self.running.values():
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
        deadline = time.monotonic() + 20
        for name in list(self.running):
            with suppress(subprocess.TimeoutExpired):
                self.running[name].wait(max(0.1, deadline - time.monotonic()))
            self.kill(name)


class RevisionsAirflow:
    """The components, the hub, and questions to them."""

    def __init__(self, components: Components, hub: ChangingHub, url: str) -> None:
        self.components = components
        self.hub = hub
        self.url = url
        self._api: Airflow | None = None

    @property
    def api(self) -> Airflow:
        """Airflow's REST API, logged in."""
        if self._api is None:
            self._api = Airflow(self.url, "admin", "admin")
        return self._api

    def runs(self, **filters: Any) -> list[dict[str, Any]]:
        """The runs of the DAG, the oldest first."""
        found = self.api.get(f"/dags/{DAG}/dagRuns", limit=200, order_by="id", **filters)
        return list(found["dag_runs"])

    def successful(self) -> list[str]:
        """The partition keys of the runs that have succeeded."""
        return [run["partition_key"] for run in self.runs() if run["state"] == "success"]

    def runs_of(self, commit: str) -> list[dict[str, Any]]:
        """The runs whose partition is a commit."""
        return [run for run in self.runs() if run["partition_key"] == commit]

    @contextmanager
    def trainings_held(self) -> Iterator[None]:
        """While this lasts, a training waits, deferred; then it ends."""
        hold, go = self.components.home / "hold", self.components.home / "go"
        go.unlink(missing_ok=True)
        hold.touch()
        try:
            yield
        finally:
            hold.unlink()
            go.touch()

    def gate(self, run_id: str) -> str | None:
        """State of the task that trains and judges."""
        return next((t["state"] for t in self.api.tasks(DAG, run_id) if t["task_id"] == "gate"), None)

    def wait_until_trains(self, commit: str) -> str:
        """Wait until a run trains a commit; its id."""
        wait_until(
            lambda: [r for r in self.runs_of(commit) if self.gate(r["dag_run_id"]) == "deferred"],
            200,
            lambda: (self.runs(), self.log("scheduler"), self.log("dag-processor")),
        )
        return str(self.runs_of(commit)[-1]["dag_run_id"])

    def set_paused(self, dag_id: str, paused: bool) -> None:
        """Switch a DAG off or on."""
        self.api.call("PATCH", f"/dags/{dag_id}", json={"is_paused": paused}).raise_for_status()

    def trigger(self, commit: str) -> str:
        """Start a run for a commit by hand, as the page does; its id."""
        body = {"logical_date": None, "partition_key": commit, "conf": {}}
        answer = self.api.call("POST", f"/dags/{DAG}/dagRuns", json=body)
        answer.raise_for_status()
        return str(answer.json()["dag_run_id"])

    def delete(self, run_id: str) -> int:
        """Delete a run; the status of the answer."""
        return self.api.call("DELETE", f"/dags/{DAG}/dagRuns/{run_id}").status_code

    def log(self, name: str) -> str:
        """The end of a component's log."""
        return (self.components.home / f"{name}.log").read_text(errors="replace")[-3000:]


@contextmanager
def revisions_airflow(
    home: Path, server: Postgres, hub: ChangingHub, revisions: dict[str, object], **settings: str
) -> Iterator[RevisionsAirflow]:
    """Run an Airflow with the DAGs of the revisions.

    Args:
        home: An empty folder.
        server: Where its databases are made.
        hub: The hub of its cluster.
        revisions: The policy in the recipe.
        settings: Further environment variables.
    """
    configs = shutil.copytree(CONFIGS, home / "configs")
    recipe = configs / "recipes" / f"{RECIPE}.yaml"
    values = yaml.safe_load(recipe.read_text()) | {"revisions": revisions}
    recipe.write_text(yaml.safe_dump(values))
    dags = home / "dags"
    dags.mkdir()
    for file in (ROOT / "dags/text2sql_revisions.py", ROOT / "tests/chain/revision_dags/retrain_at_once.py"):
        shutil.copy(file, dags)
    (home / "passwords.json").write_text(json.dumps({"admin": "admin"}))
    port = str(free_port())
    url = f"http://127.0.0.1:{port}"
    with server.new_database() as airflow_url, server.new_database("migrated") as records_url:
        env = {k: v for k, v in os.environ.items() if not k.startswith(("AIRFLOW", "SQLTUNE"))}
        env |= LAB | {
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
            "AIRFLOW__CORE__PLUGINS_FOLDER": str(ROOT / "plugins"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__PARALLELISM": "4",
            "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "admin:admin",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(home / "passwords.json"),
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": airflow_url,
            "AIRFLOW__API__HOST": "127.0.0.1",
            "AIRFLOW__API__PORT": port,
            "AIRFLOW__API__BASE_URL": url,
            "AIRFLOW__API__WORKERS": "1",
            "AIRFLOW__API__SECRET_KEY": SECRET,
            "AIRFLOW__API_AUTH__JWT_SECRET": SECRET,
            # A DAG that is not read in time is gone until it is read again, and a busy machine reads slowly.
            "AIRFLOW__CORE__DAGBAG_IMPORT_TIMEOUT": "120",
            "AIRFLOW__DAG_PROCESSOR__DAG_FILE_PROCESSOR_TIMEOUT": "180",
            "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "1",
            "AIRFLOW__DAG_PROCESSOR__PARSING_PROCESSES": "1",
            "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.3",
            # What a killed process leaves is found after seconds, not minutes.
            "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "3",
            "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "6",
            "AIRFLOW__SCHEDULER__SCHEDULER_HEARTBEAT_SEC": "1",
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "10",
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "2",
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_SEC": "2",
            "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT": "20",
            "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "1",
            "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "4",
            "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(free_port()),
            "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(free_port()),
            "PYTHONPATH": f"{ROOT / 'plugins'}:{ROOT}",
            "SQLTUNE_HOME": str(home / "records"),
            "SQLTUNE_DATABASE_URL": records_url,
            "SQLTUNE_CONFIGS": str(configs),
            "SQLTUNE_RECIPE": RECIPE,
            "SQLTUNE_CLUSTER": "lab",
            "SQLTUNE_LAB_HUB": hub.url,
            "SQLTUNE_WATCH_SECONDS": "1",
            "NO_PROXY": "*",
            "no_proxy": "*",
            **settings,
        }
        components = Components(home, env)
        components.command("db", "migrate")
        try:
            components.start("api-server")
            components.start("dag-processor")
            wait_until(lambda: _answers(url), 200, lambda: (home / "api-server.log").read_text()[-3000:])
            for name in ("scheduler", "triggerer"):
                components.start(name)
            yield RevisionsAirflow(components, hub, url)
        finally:
            components.stop()


def _answers(url: str) -> bool:
    try:
        health = httpx.get(f"{url}/api/v2/monitor/health", timeout=5, trust_env=False)
    except httpx.TransportError:
        return False
    return health.status_code == 200


__all__ = ["DAG", "RECIPE", "REPO", "RevisionsAirflow", "revisions_airflow"]
