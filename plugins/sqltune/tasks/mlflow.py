"""Task `send_to_mlflow` of text2sql_housekeeping: send MLflow what it has not received yet."""

from __future__ import annotations

import logging

from airflow.sdk.exceptions import AirflowFailException

from sqltune.registry import mlflow_mirror

log = logging.getLogger(__name__)

OVERDUE = 24 * 3600.0
"""Seconds in the queue after which a change is a failure instead of a delay."""


def flush_mlflow() -> int:
    """Send the queue to MLflow.

    Returns:
        Number of changes that stay in the queue.
    """
    remaining = mlflow_mirror.flush()
    if mlflow_mirror.uri() is None:
        log.info("MLFLOW_TRACKING_URI is not set: versions are kept in the records only")
    elif remaining:
        log.info("%d changes stay queued for MLflow; text2sql_housekeeping sends them later", remaining)
    return remaining


def send_to_mlflow() -> int:
    """Send the queue to MLflow.

    Returns:
        Number of changes that stay in the queue.

    Raises:
        AirflowFailException: The oldest change has been queued for more than `OVERDUE`.
    """
    remaining, seconds = flush_mlflow(), mlflow_mirror.oldest()
    if mlflow_mirror.uri() and seconds > OVERDUE:
        raise AirflowFailException(
            f"{remaining} changes are queued for MLflow at {mlflow_mirror.uri()}, the oldest for "
            f"{seconds / 3600:.0f} h. The reason is in the warning above: start MLflow, or correct "
            "MLFLOW_TRACKING_URI. Nothing is lost: they are sent once it answers"
        )
    return remaining
