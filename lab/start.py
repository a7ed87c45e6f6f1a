"""Start the lab's processes, and wait until they answer."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
import urllib.request

from lab import network
from lab.airflow_settings import AIRFLOW_HOME, airflow_env
from lab.credentials import USER, secret
from lab.programs import AIRFLOW, write_config
from lab.settings import CONTROL, HOSTS, LAB, LOGS, Settings
from lab.supervisor import renew, start, start_supervisor, supervisor


def start_hosts(s: Settings) -> None:
    """The two hosts, the hub and the stand-in."""
    network.make_network(s)
    network.make_hosts(s)
    start_supervisor(write_config(s))
    # It reads its data once: a lab that was up before SQLTUNE_DATA was named had none of it.
    renew("hub")
    start(*HOSTS, "hub", "glm-stand-in")
    wait_for("the hub", f"{s.hub}/")
    for host in HOSTS:
        _wait_for_port(s.address(host), s.ssh_ports[host], host)


def start_airflow(s: Settings) -> None:
    """Airflow's components. The scheduler comes when the api-server is healthy: tasks it starts before that fail for good."""
    password = LAB / "secrets" / "passwords.json"
    if not password.exists():
        password.touch(mode=0o600)
        password.write_text(json.dumps({USER: secret("password")}))
    env = os.environ | airflow_env(s)
    if supervisor().getProcessInfo("api-server")["statename"] != "RUNNING":  # type: ignore[operator,index]
        AIRFLOW_HOME.mkdir(parents=True, exist_ok=True)
        migrated = subprocess.run(
            [CONTROL / "bin/airflow", "db", "migrate"],
            env=env,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
        )
        if migrated.returncode:
            raise SystemExit(f"airflow db migrate failed:\n{migrated.stderr[-2000:]}")
    # Nothing waits for it: versions are told to it when it answers.
    start("api-server", "dag-processor", "mlflow")
    wait_for("Airflow's api-server", f"{s.airflow_url}/api/v2/monitor/health", 180)
    start(*AIRFLOW)


def wait_for(what: str, url: str, seconds: float = 90) -> None:
    """Wait until an address answers 200."""
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
