"""What a run's revision of the dataset changed."""

from __future__ import annotations

from sqltune.config.data_limits import DataLimits
from sqltune.dataset.data_check import limit_results
from sqltune.records import data_checks, runs
from sqltune.ui.data_contracts import DataLimit, DataPage
from sqltune.ui.errors import NotRecorded


def data(key: str) -> DataPage:
    """Return what the data check of a run found, against the limits of its recipe.

    Raises:
        NotRecorded: The run is not in the records.
    """
    plan = runs.plan(key)
    if plan is None:
        raise NotRecorded(f"run {key!r} is not in the records")
    # A run that was planned before there was a data check has no limits.
    limits = DataLimits.model_validate(plan["recipe"].get("data_limits", {}))
    check = data_checks.get(key)
    return DataPage(
        repo=plan["dataset_repo"],
        commit=plan["dataset_commit"],
        on_excess=limits.on_excess,
        accepted=plan.get("accept_data", False),
        limits=[
            DataLimit(
                limit=result.limit,
                count=result.count,
                total=result.total,
                allowed=result.allowed,
                exceeded=result.exceeded,
            )
            for result in (limit_results(check, limits) if check else [])
        ],
        check=check,
    )
