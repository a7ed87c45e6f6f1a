"""Another Airflow, of another team, that trains on the hosts of a deployment."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml

from lab.airflow_api import Airflow
from tests.conftest import ROOT
from tests.deploy.stack import HOSTS, Stack, address
from tests.small_airflow import small_airflow


@contextmanager
def serve_other(stack: Stack, folder: Path, settings: dict[str, str]) -> Iterator[Airflow]:
    """Run it on this machine, with a database and a `work_dir` of its own; a client of it."""
    shutil.copytree(ROOT / "include/configs", folder / "configs")
    file = folder / "configs/clusters/lab.yaml"
    cluster = yaml.safe_load(file.read_text())
    ports = {
        "bind": address(HOSTS[0]),
        "controller_port": 22001,
        "worker_ports": [22002, 22009],
        "api_port": 8100,
    }
    cluster |= {"work_dir": "~/other", "serving": cluster["serving"] | ports}
    file.write_text(yaml.safe_dump(cluster))
    known = (stack.folder / "ssh/known_hosts").read_text()
    for host in HOSTS:
        known = known.replace(f"{host} ", f"{address(host)} ")
    (folder / "known_hosts").write_text(known)
    connections = {
        f"AIRFLOW_CONN_SQLTUNE_LAB_{host[-1].upper()}": json.dumps(_connection(stack, folder, host))
        for host in HOSTS
    }
    home = folder / "airflow"
    home.mkdir()
    configs = {"SQLTUNE_CONFIGS": str(folder / "configs")}
    with small_airflow(home, **settings, **configs, **connections) as airflow:
        airflow.start("triggerer")
        yield airflow.client


def _connection(stack: Stack, folder: Path, host: str) -> dict[str, object]:
    extra = {"key_file": str(stack.folder / "ssh/id_ed25519"), "known_hosts": str(folder / "known_hosts")}
    return {"conn_type": "ssh", "host": address(host), "login": "root", "extra": extra}
