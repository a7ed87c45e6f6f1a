"""What MLflow has not been told."""

from __future__ import annotations

import pytest
from airflow.sdk.exceptions import AirflowFailException

from sqltune.records.files import home
from sqltune.registry import mlflow_mirror, versions
from sqltune.tasks import mlflow


def test_what_mlflow_was_not_told_for_a_day_is_a_failure(records, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    mlflow_mirror.tell(
        "version",
        versions.register(
            "lab",
            "r1",
            run_key="r1",
            host="host-a",
            merged_path="/r1",
            model_hash="h",
            dtype="float16",
            lineage={},
        ),
    )
    assert mlflow.tell_mlflow() == 1
    (waits,) = (home() / "outbox").iterdir()
    waits.rename(waits.with_name(f"{int(waits.name.partition('-')[0]) - 25 * 3600 * 10**9}-version.json"))
    with pytest.raises(AirflowFailException, match="the first for 25 h"):
        mlflow.tell_mlflow()
