"""A task instance for which Airflow says which runs run."""

from __future__ import annotations

from collections.abc import Collection
from types import SimpleNamespace


def task_instance(running: Collection[str]) -> SimpleNamespace:
    """A task of a run of the DAG `d`.

    Args:
        running: Ids of the runs that run; it may change.
    """
    return SimpleNamespace(
        dag_id="d", get_dr_count=lambda dag_id, run_ids, states: len({*run_ids} & {*running})
    )
