"""The DAG files, parsed as Airflow parses them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import ROOT


def parsed(path: Path):
    """A file or folder as Airflow has parsed it."""
    from airflow.dag_processing.dagbag import DagBag

    bag = DagBag(dag_folder=str(path))
    assert bag.import_errors == {}
    return bag


@pytest.fixture(scope="session")
def dags():
    """Every DAG by its id; each file has one."""
    bag = parsed(ROOT / "dags")
    assert len(bag.dags) == len([*(ROOT / "dags").glob("*.py")])
    return bag.dags
