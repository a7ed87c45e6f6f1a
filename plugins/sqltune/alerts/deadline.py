"""The deadline of a run: somebody is told while it still goes on."""

from __future__ import annotations

import math
from datetime import timedelta

from airflow.sdk.definitions.callback import AsyncCallback
from airflow.sdk.definitions.deadline import DeadlineAlert, DeadlineReference

from sqltune.alerts.notifier import Overrun
from sqltune.environment import setting

SETTING = "SQLTUNE_DEADLINE"


def deadline() -> DeadlineAlert | None:
    """Return the deadline that SQLTUNE_DEADLINE sets; None without it.

    It counts from the moment at which the run was queued, so that the time in which it waits for another run
    counts too. The scheduler looks at deadlines; the triggerer sends the alert.
    """
    hours = _hours(setting(SETTING))
    if hours is None:
        return None
    return DeadlineAlert(
        name="overrun",
        reference=DeadlineReference.DAGRUN_QUEUED_AT,
        interval=timedelta(hours=hours),
        callback=AsyncCallback(Overrun),
    )


def _hours(text: str) -> float | None:
    """Raises ValueError, which Airflow shows as an import error of the DAG."""
    if not text:
        return None
    try:
        hours = float(text)
    except ValueError:
        hours = math.nan
    if not 0 < hours < math.inf:
        raise ValueError(
            f"{SETTING} is {text!r}, expected a number of hours above 0, such as 8 or 0.5: "
            "correct it in the environment"
        )
    return hours
