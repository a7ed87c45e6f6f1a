"""The DAG files, parsed as Airflow parses them."""

from __future__ import annotations

import pytest

from tests.conftest import ROOT


@pytest.fixture(scope="session")
def dags():
    """Every DAG by its id; each file has one."""
    from airflow.dag_processing.dagbag import DagBag

    bag = DagBag(dag_folder=str(ROOT / "dags"))
    assert bag.import_errors == {}
    assert len(bag.dags) == len([*(ROOT / "dags").glob("*.py")])
    return bag.dags
