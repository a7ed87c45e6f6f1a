"""Task `tell_mlflow`: MLflow is told what it has not heard yet."""

from __future__ import annotations

import logging

from airflow.sdk.exceptions import AirflowFailException

from sqltune.registry import mlflow_mirror

log = logging.getLogger(__name__)


OVERDUE = 24 * 3600.0
"""Seconds after which what MLflow was not told is a failure, and no longer a delay."""


def flush_mlflow() -> None:
    left = mlflow_mirror.flush()
    if mlflow_mirror.uri() is None:
        log.info("MLFLOW_TRACKING_URI is not set: versions are kept in the records only")
    elif left:
        log.info("%d for MLflow wait; text2sql_housekeeping tells it", left)


def tell_mlflow() -> int:
    """Tell MLflow what it has not heard yet; how much still waits. Fails when that has waited for a day: somebody has to look."""
    flush_mlflow()
    if mlflow_mirror.uri() and mlflow_mirror.oldest() > OVERDUE:
        raise AirflowFailException(
            f"{mlflow_mirror.waiting()} for MLflow at {mlflow_mirror.uri()} wait, the first for {mlflow_mirror.oldest() / 3600:.0f} h: the reason is above; nothing is lost"
        )
    return mlflow_mirror.waiting()
