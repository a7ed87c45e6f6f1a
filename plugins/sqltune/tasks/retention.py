"""Task `retention` of text2sql_housekeeping: once a day, remove the logs, series and answers of old runs.

    SQLTUNE_KEEP_LOGS_DAYS      whole logs in the log store             365
    SQLTUNE_KEEP_SERIES_DAYS    iterations, GPU samples, ranks' states  365
    SQLTUNE_KEEP_ANSWERS_DAYS   single answers of an evaluation         0

Days since something was last recorded of the run; 0 keeps everything.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta

from airflow.sdk import Variable

from sqltune.environment import setting
from sqltune.errors import ConfigError
from sqltune.metrics import CONTROL_PLANE, emit
from sqltune.records import retention as records
from sqltune.records import runs
from sqltune.records.logstore import LogStore
from sqltune.records.types import now
from sqltune.registry import versions

log = logging.getLogger(__name__)

DONE = "sqltune_retention"
"""Airflow Variable with the day on which it was last done, and with which settings.

Once a day is enough: the log store's size is that of many files. Changed settings are applied at once.
"""
SHORTEST = 30
"""Days; a run that waits for a person's answer records nothing meanwhile."""
DEFAULTS = {"LOGS": 365, "SERIES": 365, "ANSWERS": 0}
GIB = 1024**3


def days(what: str) -> int:
    """Return how many days something of a run is kept; 0: for ever.

    Args:
        what: Which setting, a key of `DEFAULTS`.

    Raises:
        ConfigError: The setting is not a number of days, or too short.
    """
    name = f"SQLTUNE_KEEP_{what}_DAYS"
    value = setting(name, str(DEFAULTS[what]))
    if not value.isdecimal() or 0 < int(value) < SHORTEST:
        raise ConfigError(
            [f"{name} is {value!r}, expected {SHORTEST} days or more, or 0 to keep everything: correct it"]
        )
    return int(value)


def apply_retention() -> dict[str, float] | None:
    """Remove what is too old, and report the sizes; nothing where that was done today with these settings.

    Returns:
        What was removed, and the sizes afterwards in GiB, as far as they are known; None where it was done.

    Raises:
        ConfigError: A setting is wrong; nothing was removed.
    """
    kept_days = {what: days(what) for what in DEFAULTS}
    this = " ".join([f"{now():%Y-%m-%d}", *(f"{what}={n}" for what, n in kept_days.items())])
    if Variable.get(DONE, default=None) == this:
        log.info("done today already, with these settings: %s", this)
        return None
    kept, store = _served(), LogStore()
    before = {what: now() - timedelta(days=n) for what, n in kept_days.items() if n}
    logs = _remove_logs(store, records.old_runs(before["LOGS"], kept)) if "LOGS" in before else 0
    series = records.remove_series(before["SERIES"], kept) if "SERIES" in before else 0
    answers = records.remove_answers(before["ANSWERS"], kept) if "ANSWERS" in before else 0
    sizes = dict(_sizes({"records_size": records.size, "log_store_size": store.total_size}))
    log.info(
        "removed: logs of %d runs (kept for %d days), %d rows of series (%d), %d rows of answers (%d); "
        "0 days: for ever. Left, in GiB: %s",
        *(logs, kept_days["LOGS"], series, kept_days["SERIES"], answers, kept_days["ANSWERS"]),
        ", ".join(f"{name} {value:.2f}" for name, value in sizes.items()),
    )
    Variable.set(DONE, this, description="When what is too old was last removed, and days of each kind")
    return {"logs": logs, "series": series, "answers": answers} | sizes


def _sizes(measures: Mapping[str, Callable[[], int]]) -> Iterator[tuple[str, float]]:
    """Measure in GiB, and send each as a metric; what cannot be measured is logged and left out."""
    for name, measure in measures.items():
        try:
            size = measure() / GIB
        except Exception as e:  # each kind of object storage has exceptions of its own
            log.warning("%s is not known: %s: %s", name, type(e).__name__, e)
        else:
            emit(CONTROL_PLANE, name, size)
            yield name, size


def _served() -> set[str]:
    """Runs of each cluster's champion and of the version that was served before it: they stay whole."""
    return set().union(*map(versions.served_runs, runs.clusters()))


def _remove_logs(store: LogStore, old: list[str]) -> int:
    removable = set(store.runs()).intersection(old)
    for run in removable:
        store.remove(run)
    return len(removable)
