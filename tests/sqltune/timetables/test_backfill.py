"""A backfill over a range of dates is one over the commits of the range: by Airflow's own functions."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.plans import LAB

pytestmark = pytest.mark.slow
AIRFLOW = Path(sys.executable).with_name("airflow")


@pytest.fixture(scope="module")
def saw(tmp_path_factory, migrated_sqlite):
    home = tmp_path_factory.mktemp("backfills")
    env = {k: v for k, v in os.environ.items() if not k.startswith(("AIRFLOW", "SQLTUNE"))}
    env |= LAB | {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(ROOT / "plugins"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db",
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR",
        "SQLTUNE_DATABASE_URL": f"sqlite:///{home}/records.db",
        "PYTHONPATH": f"{ROOT / 'plugins'}:{ROOT}",
    }
    (home / "records.db").write_bytes(migrated_sqlite.read_bytes())
    commands = (
        [AIRFLOW, "db", "migrate"],
        [AIRFLOW, "dags", "reserialize"],
        [sys.executable, "-m", "tests.sqltune.timetables.backfills"],
    )
    for command in commands:
        done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_it_lists_the_commits_of_the_range(saw):
    assert saw["at first"] == "abcdef"


def test_it_leaves_out_what_the_form_has_trained(saw):
    assert saw["one was trained by the form"] == "acdef"


def test_it_makes_one_run_for_each_whose_partition_and_id_are_the_commits(saw):
    assert saw["runs"] == [f"backfill {c} {c * 12}" for c in "ac"]


def test_a_second_one_lists_and_makes_only_what_has_no_run(saw):
    assert saw["after a backfill of three days"] == "def"
    assert saw["runs after a second one"] == [f"backfill {c} {c * 12}" for c in "def"]


def test_reprocessing_lists_what_was_trained_and_makes_a_second_run(saw):
    assert saw["reprocessing"] == "acdef"
    assert saw["runs after reprocessing a day"] == ["backfill a aaaaaaaaaaaa"]


def test_beside_a_backfill_nothing_is_scheduled(saw):
    assert saw["scheduled after a backfill"] is None


def test_a_commit_that_comes_later_is_scheduled(saw):
    assert saw["scheduled for a new commit"] == "0"


def test_queued_runs_start_in_the_order_that_the_page_shows(saw):
    """`inStartOrder` in ui/src/queue/queue.ts; what is planned for later is not asked for."""
    assert saw["started"] == ["old", "new", "seen", "dddd", "eeee", "ffff"]
