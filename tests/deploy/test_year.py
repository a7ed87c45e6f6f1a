"""deploy/backup.sh and deploy/restore.sh on a real engine: a deployment moves to an empty machine.

What they refuse is tested without an engine, in tests/lab/test_backup.py.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest

from lab.airflow_api import Airflow
from tests.deploy import measured
from tests.deploy.runs import failures
from tests.deploy.stack import DAG, Stack

pytestmark = [pytest.mark.compose, pytest.mark.timeout(1500)]


def script(stack: Stack, name: str, argument: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", f"deploy/{name}", argument],
        cwd=stack.folder,
        env=stack.engine.env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


def known(stack: Stack, airflow: Airflow, run: str) -> dict[str, Any]:
    """What a deployment knows of a run and of what came of it."""
    registry = f"http://127.0.0.1:{stack.settings['MLFLOW_PORT']}/api/2.0/mlflow/model-versions/search"
    found = httpx.get(registry, trust_env=False).raise_for_status().json()
    return {
        "state": airflow.run_state(DAG, run),
        "log": airflow.log(DAG, run, "train", 1),
        # It is encrypted with the Fernet key.
        "connection": airflow.get("/connections/sqltune_lab_a")["extra"],
        "versions": stack.query("SELECT cluster, number, model_hash FROM versions ORDER BY id"),
        "promotions": stack.query("SELECT cluster, number, version, at FROM promotions ORDER BY id"),
        "installation": stack.query("SELECT name FROM installation"),
        "iterations": stack.query("SELECT count(*) FROM iterations"),
        "mlflow": sorted((v["name"], v["version"]) for v in found["model_versions"]),
        "whole logs": listing(stack),
    }


def listing(stack: Stack) -> str:
    command = ("sh", "-c", "cd /opt/airflow/logs/sqltune && find -type f | sort | xargs sha256sum")
    return stack.engine.docker("exec", stack.container("api-server"), *command)


def test_a_backup_of_a_deployment_that_runs_is_restored_on_an_empty_machine(
    stack, shape, airflow, training, tmp_path
):
    if shape.airflow_env:
        pytest.skip("the other shape's")
    run = training
    before = known(stack, airflow, run)
    assert before["state"] == "success", failures(airflow, run)
    assert before["versions"]
    assert before["mlflow"]
    with measured.seconds(stack.folder.name, "backup"):
        made = script(stack, "backup.sh", tmp_path)
    assert made.returncode == 0, made.stdout + made.stderr
    (archive,) = tmp_path.iterdir()
    modes = [path.stat().st_mode for path in (stack.folder, stack.folder / "include")]
    assert archive.stat().st_mode & 0o777 == 0o600
    files = {name: (stack.folder / name).read_bytes() for name in (".env", "airflow.env", "ssh/id_ed25519")}

    stack.down()
    stack.check_out()
    shutil.rmtree(stack.folder / "ssh")
    (stack.folder / ".env").unlink()
    with measured.seconds(stack.folder.name, "restore"):
        restored = script(stack, "restore.sh", archive)
    assert restored.returncode == 0, restored.stdout + restored.stderr
    assert restored.stdout.endswith("Next: docker compose up -d\n")
    assert {name: (stack.folder / name).read_bytes() for name in files} == files
    assert (stack.folder / "ssh/id_ed25519").stat().st_uid == 1000
    assert [path.stat().st_mode for path in (stack.folder, stack.folder / "include")] == modes
    stack.up()
    assert known(stack, stack.log_in(), run) == before

    # The deployment is there now.
    again = script(stack, "restore.sh", archive)
    assert again.returncode == 1
    assert ".env is there, so this checkout has a deployment" in again.stderr
    (stack.folder / ".env").rename(tmp_path / ".env")
    for name in ("airflow.env", "ssh", "tls"):
        (stack.folder / name).rename(tmp_path / name)
    again = script(stack, "restore.sh", archive)
    for name in (".env", "airflow.env", "ssh", "tls"):
        (tmp_path / name).rename(stack.folder / name)
    assert again.returncode == 1
    assert "there are volumes of a deployment sqltune (" in again.stderr
    assert known(stack, stack.log_in(), run) == before
