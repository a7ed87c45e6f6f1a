"""Changes that are queued for MLflow."""

from __future__ import annotations

from datetime import timedelta

import pytest
from airflow.sdk.exceptions import AirflowFailException
from sqlalchemy import update

from sqltune.records import database
from sqltune.records.models import MlflowMessage
from sqltune.records.types import now
from sqltune.registry import mlflow_mirror
from sqltune.tasks import mlflow
from tests.versions import registered


def test_a_change_that_is_queued_for_a_day_is_a_failure(records, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    mlflow_mirror.enqueue("version", registered("r1"))
    assert mlflow.send_to_mlflow() == 1
    with database.writing() as session:
        session.execute(update(MlflowMessage).values(created_at=now() - timedelta(hours=25)))
    with pytest.raises(AirflowFailException, match="the oldest for 25 h"):
        mlflow.send_to_mlflow()
