"""The page in a browser on recorded runs."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from sqltune.records.recorder import RunRecorder
from ssh_gang.model import slug
from tests.browser import browser, open_page
from tests.conftest import serving
from tests.plans import run_plan
from tests.sqltune.ui import large
from tests.sqltune.ui.audited import record_audited
from tests.sqltune.ui.gangs import record_broken, record_refused
from tests.sqltune.ui.recorded import RUN_ID, record_run, record_training
from tests.sqltune.ui.sites import Site, page_beside_airflow, reading


@pytest.fixture(scope="session")
def recorded_runs(tmp_path_factory: pytest.TempPathFactory, migrated_sqlite: Path) -> Path:
    """A folder of records: `whole`, `audited`, `suite`, `hostile`, `live`, `broken`, `refused`; and 1,000
    nights on the cluster `years`."""
    home = tmp_path_factory.mktemp("recorded") / "records"
    home.mkdir()
    shutil.copy(migrated_sqlite, home / "records.db")
    with reading(home):
        record_run("whole")
        record_audited("audited")
        large.record_suite("suite")
        hostile = large.record_hostile("hostile")
        RunRecorder(hostile, "train").output("try2", run_plan().cluster.hosts[0].name, 0, large.log_lines())
        record_training("live")
        record_broken("broken")
        record_refused("refused")
        large.record_history("years")
    return home


@pytest.fixture(scope="session")
def recorded_run(tmp_path_factory: pytest.TempPathFactory, migrated_sqlite: Path) -> Path:
    """A folder of records with a whole run; copying it is faster than recording the run again."""
    home = tmp_path_factory.mktemp("recorded_run")
    shutil.copy(migrated_sqlite, home / "records.db")
    with reading(home):
        record_run()
    return home


@pytest.fixture
def run(records: Path, recorded_run: Path) -> str:
    """Key of a whole run in the test's own records."""
    shutil.copytree(recorded_run, records, dirs_exist_ok=True)
    return slug(RUN_ID)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, recorded_runs: Path) -> Iterator[Site]:
    """The page on a copy of `recorded_runs`."""
    home = shutil.copytree(recorded_runs, tmp_path_factory.mktemp("site") / "records")
    site = Site(states={"live": "running", "broken": "failed", "refused": "failed"})
    with reading(home), serving(page_beside_airflow(site)) as site.url:
        yield site


__all__ = ["browser", "open_page", "site"]
