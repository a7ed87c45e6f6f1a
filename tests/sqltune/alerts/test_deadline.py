"""SQLTUNE_DEADLINE becomes a deadline of the DAG, as Airflow's scheduler reads it."""

from __future__ import annotations

from datetime import timedelta

import pytest

from sqltune.alerts.deadline import deadline


def test_without_the_setting_there_is_no_deadline(monkeypatch):
    monkeypatch.delenv("SQLTUNE_DEADLINE", raising=False)
    assert deadline() is None


@pytest.mark.parametrize(("hours", "seconds"), [("8", 28800), ("0.5", 1800)])
def test_hours_from_the_moment_at_which_the_run_was_queued(monkeypatch, hours, seconds):
    monkeypatch.setenv("SQLTUNE_DEADLINE", hours)
    made = deadline()
    assert made.interval == timedelta(seconds=seconds)
    assert made.reference.reference_name == "DagRunQueuedAtDeadline"
    assert made.callback.path == "sqltune.alerts.notifier.Overrun"


@pytest.mark.parametrize("hours", ["eight", "0", "-1", "nan", "inf"])
def test_what_is_no_number_of_hours_is_refused(monkeypatch, hours):
    monkeypatch.setenv("SQLTUNE_DEADLINE", hours)
    with pytest.raises(ValueError, match="expected a number of hours above 0"):
        deadline()
