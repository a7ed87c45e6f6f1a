"""The served model as an Airflow asset, and what its events say."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.sdk import Asset

if TYPE_CHECKING:
    from airflow.sdk import Context

CHAMPION = Asset("text2sql_champion")
"""The model that is served, on any cluster: each promotion and rollback is an event of it, with the dataset's
commit as its partition key. Other DAGs can be scheduled on it, with a `PartitionedAssetTimetable`."""


def announce(context: Context, result: int) -> None:
    """Say in the event of the asset what is served now; the `post_execute` of the task that serves it.

    Args:
        context: The task's context; its form names the cluster.
        result: The version's number.
    """
    from sqltune.registry import versions

    version = versions.version(context["params"]["cluster"], result)
    commit = version.lineage.get("dataset_commit", "")
    event = context["outlet_events"][CHAMPION]
    event.extra = {
        "cluster": version.cluster,
        "version": version.number,
        "dataset_commit": commit,
        "trained_by": version.run_id,
    }
    if commit:
        event.add_partitions(commit)
