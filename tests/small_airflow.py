"""A small real Airflow on SQLite: its components as processes, with the project's DAGs and no hosts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx

from lab.airflow_api import Airflow
from tests.conftest import ROOT, free_port
from tests.plans import LAB
from tests.waiting import wait_until

SECRET = "secret-of-these-tests-and-of-no-other-airflow-at-all-64-bytes-long"
AIRFLOW = Path(sys.executable).with_name("airflow")


class SmallAirflow:
    """An Airflow in a folder; its components can be started and ended one by one."""

    def __init__(self, home: Path, settings: Mapping[str, str]) -> None:
        port = str(free_port())
        self.url = f"http://127.0.0.1:{port}"
        self.home = home
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._env = {k: v for k, v in os.environ.items() if not k.startswith(("AIRFLOW", "SQLTUNE"))} | {
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
            "AIRFLOW__CORE__PLUGINS_FOLDER": str(ROOT / "plugins"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
            "AIRFLOW__CORE__PARALLELISM": "2",
            "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{self.url}/execution/",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "admin:admin",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(home / "passwords.json"),
            # A DAG that is not read in time is gone until it is read again, and a busy machine reads slowly.
            "AIRFLOW__CORE__DAGBAG_IMPORT_TIMEOUT": "120",
            "AIRFLOW__DAG_PROCESSOR__DAG_FILE_PROCESSOR_TIMEOUT": "180",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db",
            "AIRFLOW__API__HOST": "127.0.0.1",
            "AIRFLOW__API__PORT": port,
            "AIRFLOW__API__BASE_URL": self.url,
            "AIRFLOW__API__WORKERS": "1",
            "AIRFLOW__API__SECRET_KEY": SECRET,
            "AIRFLOW__API_AUTH__JWT_SECRET": SECRET,
            "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(free_port()),
            "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(free_port()),
            "SQLTUNE_HOME": str(home / "records"),
            "SQLTUNE_RECIPE": "lab_tiny",
            "SQLTUNE_PAGE": "off",
            "PYTHONPATH": f"{ROOT / 'plugins'}:{ROOT}",
            "NO_PROXY": "*",
            "no_proxy": "*",
            **LAB,
            **settings,
        }
        (home / "passwords.json").write_text(json.dumps({"admin": "admin"}))

    def set_up(self) -> None:
        """Create both databases, and read the DAGs."""
        airflow, migrate = [AIRFLOW], [sys.executable, "-m", "sqltune.cli", "migrate"]
        with (self.home / "setup.log").open("w") as log:
            for command in ([*airflow, "db", "migrate"], migrate, [*airflow, "dags", "reserialize"]):
                subprocess.run(command, env=self._env, stdout=log, stderr=log, timeout=300, check=True)

    def start(self, *components: str) -> None:
        """Start components; the api-server answers when it returns."""
        for component in components:
            with (self.home / f"{component}.log").open("ab") as log:
                self._processes[component] = subprocess.Popen(
                    [AIRFLOW, component], env=self._env, stdout=log, stderr=log, start_new_session=True
                )
            if component == "api-server":
                wait_until(self._answers, 200, not_yet=httpx.TransportError)

    def _answers(self) -> bool:
        return httpx.get(f"{self.url}/api/v2/monitor/health", timeout=5, trust_env=False).status_code == 200

    def stop(self, *components: str) -> None:
        """End components; all of them by default."""
        for component in components or [*self._processes]:
            process = self._processes.pop(component)
            process.terminate()
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()

    @property
    def client(self) -> Airflow:
        """The REST API, logged in."""
        return Airflow(self.url, "admin", "admin")

    def logs(self) -> str:
        """The end of every component's output."""
        return "\n".join(f"== {p.name}\n{p.read_text()[-3000:]}" for p in sorted(self.home.glob("*.log")))


@contextmanager
def small_airflow(home: Path, **settings: str) -> Iterator[SmallAirflow]:
    """An Airflow that is set up, with its api-server and scheduler running.

    Args:
        home: An empty folder.
        settings: Further environment variables.
    """
    airflow = SmallAirflow(home, settings)
    airflow.set_up()
    try:
        airflow.start("api-server", "scheduler")
        yield airflow
    finally:
        airflow.stop()
