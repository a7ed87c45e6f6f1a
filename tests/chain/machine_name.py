"""Airflow's `hostname_callable` on the machines of the tests. It imports no test: each task imports it."""

from __future__ import annotations

import os

VARIABLE = "SQLTUNE_TEST_MACHINE"


def machine_name() -> str:
    """The machine of a task, as Airflow's page and API name it."""
    return os.environ[VARIABLE]
