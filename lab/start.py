"""Start the lab's processes, and wait until they answer."""

from __future__ import annotations

import os
import socket
import subprocess
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from lab import network
from lab.airflow_settings import AIRFLOW_HOME, airflow_env, records_env
from lab.credentials import password
from lab.programs import AIRFLOW, write_config
from lab.settings import CONTROL, HOSTS, LOGS, ROOT, Settings
from lab.supervisor import program, renew, start, start_supervisor


def start_hosts(s: Settings) -> None:
    """Start the two hosts, the hub and the stand-in for the hosted model."""
    network.make_network(s)
    network.make_hosts(s)
    start_supervisor(write_config(s))
    # The hub reads its data once: if the lab was started before SQLTUNE_DATA was set, the hub has none of it.
    renew("hub")
    start(*HOSTS, "hub", "glm-stand-in")
    wait_for("the hub", f"{s.hub}/")
    for host in HOSTS:
        _wait_for_port(s.address(host), s.ssh_ports[host], host)


def start_airflow(s: Settings) -> None:
    """Start Airflow's components and MLflow.

    The scheduler starts once the api-server is healthy: tasks that it starts before that fail for good.

    Raises:
        SystemExit: the database cannot be migrated, or the api-server does not answer.
    """
    password()
    if program("api-server").state != "RUNNING":
        _migrate(s)
    _migrate_records()
    # Nothing waits for MLflow: what it missed is sent when it answers.
    start("api-server", "dag-processor", "mlflow")
    wait_for("Airflow's api-server", f"{s.airflow_url}/api/v2/monitor/health", 180)
    start(*AIRFLOW)


def _migrate(s: Settings) -> None:
    """Bring Airflow's database to the version of its code."""
    AIRFLOW_HOME.mkdir(parents=True, exist_ok=True)
    _run("airflow db migrate", [CONTROL / "bin/airflow", "db", "migrate"], airflow_env(s))


def _migrate_records() -> None:
    """Create the records' database, or bring it to the version of the code."""
    env = records_env() | {"PYTHONPATH": str(ROOT / "plugins")}
    _run("sqltune migrate", [CONTROL / "bin/python", "-m", "sqltune.cli", "migrate"], env)


def _run(name: str, command: Sequence[Path | str], env: dict[str, str]) -> None:
    finished = subprocess.run(
        command,
        env=os.environ | env,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    if finished.returncode:
        raise SystemExit(f"{name} failed:\n{finished.stderr[-2000:]}")


def wait_for(what: str, url: str, seconds: float = 90) -> None:
    """Wait until an address answers with 200.

    Args:
        what: The server's name, for the error message.
        url: Its address.
        seconds: How long to wait.

    Raises:
        SystemExit: it did not answer in time.
    """
    deadline = time.monotonic() + seconds
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    reason: object = ""
    while time.monotonic() < deadline:
        try:
            with opener.open(url, timeout=5) as answer:
                if answer.status == 200:
                    return
        except OSError as e:
            reason = e
        time.sleep(0.2)
    raise SystemExit(
        f"{what} did not answer at {url} within {seconds:.0f} s ({reason}); its log is in {LOGS}"
    )


def _wait_for_port(address: str, port: int, what: str) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            socket.create_connection((address, port), 1).close()
            return
        except OSError:
            time.sleep(0.1)
    raise SystemExit(f"{what} does not answer at {address}:{port}; its log is in {LOGS}")
