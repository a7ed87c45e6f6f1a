"""deploy/cleanup.sh: which files go. Airflow's own tables are its command's work."""

from __future__ import annotations

import os
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.conftest import ROOT

OLD, NEW = 181, 179


@pytest.fixture
def home(tmp_path) -> Path:
    """Airflow's folder, with an old and a new file of each kind, and what the script calls."""
    for name in (
        "dag_id=d/run_id={}/train.log",
        "sqltune/{}/train/0-5",
        "dag_processor/{}/d.py.log",
        ".moved/{}",
    ):
        for days in (OLD, NEW):
            file = tmp_path / "logs" / name.format(f"r{days}")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch()
            # A folder is as old as the last change in it.
            for path in (file, file.parent):
                moment = (datetime.now(UTC) - timedelta(days=days, hours=1)).timestamp()
                os.utime(path, (moment, moment))
    for name, script in (("airflow", f'echo "$*" >>{tmp_path}/calls'), ("sleep", "exit 9")):
        program = tmp_path / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
    return tmp_path


def clean(home: Path, days: str) -> subprocess.CompletedProcess[str]:
    env = os.environ | {"AIRFLOW_HOME": str(home)}
    env["PATH"] = f"{home}/bin:{env['PATH']}"
    command = ["bash", ROOT / "deploy/cleanup.sh", days]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=30, check=False)


def files(home: Path) -> set[str]:
    return {str(f.relative_to(home / "logs")) for f in (home / "logs").rglob("*") if f.is_file()}


def test_old_task_logs_go_and_the_log_store_stays(home):
    before = files(home)
    done = clean(home, "180")
    assert done.returncode == 9, done.stderr
    assert before - files(home) == {"dag_id=d/run_id=r181/train.log", "dag_processor/r181/d.py.log"}
    assert done.stdout.startswith("removed 2 files of task logs older than 180 days; left: ")


def test_airflows_tables_are_cleaned_up_to_the_same_day(home):
    clean(home, "180")
    day = datetime.now(UTC) - timedelta(days=180)
    (call,) = (home / "calls").read_text().splitlines()
    assert call.startswith(f"db clean --clean-before-timestamp {day:%Y-%m-%d}T")
    assert call.endswith("Z --skip-archive --yes")


@pytest.mark.parametrize("days", ["0", "00"])
def test_0_days_keep_everything(home, days):
    before = files(home)
    assert clean(home, days).returncode == 9
    assert files(home) == before
    assert not (home / "calls").exists()


@pytest.mark.parametrize("days", ["half a year", "-1", "1", "029", ""])
def test_days_in_which_a_run_may_still_train_are_refused(home, days):
    before = files(home)
    done = clean(home, days)
    assert done.returncode == 1
    assert f"AIRFLOW_KEEP_DAYS is '{days}', expected 30 days or more" in done.stderr
    assert files(home) == before
