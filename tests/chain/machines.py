"""Airflow's components as on machines of their own: a scheduler and a triggerer, and Celery workers.

Each has an AIRFLOW_HOME and a SQLTUNE_HOME of its own. They share Airflow's database, which is Celery's
broker too, the records' database, and the log store on an S3 server. Airflow's own task logs are in one
folder, as Airflow's remote logging would have them.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.chain import machine_name
from tests.chain.conftest import STATE, Lab
from tests.conftest import BASE, ROOT

LAB_ENVIRONMENT = """
import json
from lab import settings
from lab.airflow_settings import airflow_env
print(json.dumps(airflow_env(settings.load())))
"""
GRACE = 30
"""Seconds that a component has to end before it is killed."""


class Machines:
    """Components that were started in place of the lab's scheduler and triggerer.

    Args:
        lab: The lab; its api-server, dag-processor and databases serve these components too.
        log_store: Variables that name the log store and sign in to it.
    """

    def __init__(self, lab: Lab, log_store: dict[str, str]) -> None:
        answer = subprocess.run(
            [sys.executable, "-c", LAB_ENVIRONMENT], cwd=ROOT, env=lab.env, capture_output=True, check=True
        )
        env = json.loads(answer.stdout)
        database = env["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"]
        self._env = (
            lab.env
            | env
            | log_store
            | {
                # For machine_name(), which Airflow imports by its path.
                "PYTHONPATH": str(ROOT),
                "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor",
                "AIRFLOW__CORE__HOSTNAME_CALLABLE": "tests.chain.machine_name.machine_name",
                "AIRFLOW__CELERY__BROKER_URL": f"sqla+{database}",
                "AIRFLOW__CELERY__RESULT_BACKEND": f"db+{database}",
                # A broker in a database has no broadcasts.
                "AIRFLOW__CELERY__WORKER_ENABLE_REMOTE_CONTROL": "False",
                "AIRFLOW__CELERY__SYNC_PARALLELISM": "1",
                "AIRFLOW__LOGGING__BASE_LOG_FOLDER": f"{env['AIRFLOW_HOME']}/logs",
            }
        )
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    @staticmethod
    def folder(name: str) -> Path:
        """What a machine has for itself."""
        return STATE / "machines" / name

    def start(self, name: str, *component: str, **env: str) -> None:
        """Start one of Airflow's components on a machine."""
        home = self.folder(name)
        home.mkdir(parents=True, exist_ok=True)
        own = {
            "AIRFLOW_HOME": str(home / "airflow"),
            "SQLTUNE_HOME": str(home / "sqltune"),
            machine_name.VARIABLE: name,
        }
        with (home / "log").open("a") as log:
            self._running[name] = subprocess.Popen(
                [BASE / "control-env/bin/airflow", *component],
                cwd=home,
                env=self._env | own | env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def start_worker(self, name: str, **env: str) -> None:
        """Start a worker that runs one task at a time, so that parallel tasks need several."""
        options = ("--concurrency", "1", "--skip-serve-logs", "--without-mingle", "--without-gossip")
        self.start(name, "celery", "worker", *options, **env)

    def stop(self, *names: str) -> None:
        """Stop components; without names, all that run."""
        stopped = [self._running.pop(name) for name in names or [*self._running]]
        for process in stopped:
            process.terminate()
        for process in stopped:
            try:
                process.wait(GRACE)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
