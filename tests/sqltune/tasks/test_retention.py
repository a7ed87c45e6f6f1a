"""When old logs and series are removed, and what is told of it."""

from __future__ import annotations

from datetime import timedelta

import pytest

from sqltune.errors import ConfigError
from sqltune.records import runs, series
from sqltune.records.logstore import LogStore
from sqltune.records.types import now
from sqltune.registry import versions
from sqltune.tasks import retention
from ssh_gang.progress import Progress
from tests.plans import run_plan
from tests.sqltune.records.test_retention import age
from tests.versions import registered


@pytest.fixture(autouse=True)
def two_runs(records, variables):
    """A run of 400 days ago and one of now, each with a log and an iteration; and a log of another's run."""
    for name, days in (("old", 400), ("new", 0)):
        runs.put_plan(run_plan(name))
        series.put_iteration(name, "try1", now(), Progress(step=1, total=2, loss=1.0))
        LogStore().write(name, "train", 0, b"hello\n")
        age(name, days)
    LogStore().write("unknown", "train", 0, b"hello\n")


def test_logs_and_series_of_old_runs_go_after_a_year_and_the_log_says_so(caplog):
    caplog.set_level("INFO")
    result = retention.apply_retention()
    assert (result["logs"], result["series"], result["answers"]) == (1, 1, 0)
    assert result["log_store_size"] * retention.GIB == pytest.approx(12)
    assert result["records_size"] > 0
    assert LogStore().runs() == ["new", "unknown"]
    assert "removed: logs of 1 runs (kept for 365 days), 1 rows of series (365)" in caplog.text


def test_it_is_done_once_a_day(variables):
    assert retention.apply_retention() is not None
    assert retention.apply_retention() is None
    today, yesterday = (f"{now() - timedelta(days=n):%Y-%m-%d}" for n in (0, 1))
    variables[retention.DONE] = variables[retention.DONE].replace(today, yesterday)
    assert retention.apply_retention() is not None


def test_changed_days_are_applied_on_the_same_day(monkeypatch, caplog):
    caplog.set_level("INFO")
    monkeypatch.setenv("SQLTUNE_KEEP_LOGS_DAYS", "500")
    assert retention.apply_retention()["logs"] == 0
    assert retention.apply_retention() is None
    assert "done today already, with these settings" in caplog.text
    monkeypatch.setenv("SQLTUNE_KEEP_LOGS_DAYS", "365")
    assert retention.apply_retention()["logs"] == 1
    assert retention.apply_retention() is None


@pytest.mark.parametrize("unknown", ["records_size", "log_store_size"])
def test_a_size_that_is_not_known_fails_nothing(unknown, monkeypatch, caplog, variables):
    def fail(*_: object) -> int:
        raise OSError("Permission denied: lost+found")

    owner, name = {
        "records_size": (retention.records, "size"),
        "log_store_size": (LogStore, "total_size"),
    }[unknown]
    monkeypatch.setattr(owner, name, fail)
    result = retention.apply_retention()
    assert result["logs"] == 1
    assert unknown not in result
    assert f"{unknown} is not known: OSError: Permission denied: lost+found" in caplog.text
    assert retention.apply_retention() is None


@pytest.mark.parametrize("served", [("old",), ("old", "new")], ids=["champion", "the one before it"])
def test_the_run_of_a_model_that_is_served_or_was_before_stays_whole(served):
    for name in served:
        versions.promote(registered(name), "gate", name)
    assert retention.apply_retention()["logs"] == 0
    assert len(series.iterations("old")) == 1


def test_0_days_keep_everything(monkeypatch):
    for what in retention.DEFAULTS:
        monkeypatch.setenv(f"SQLTUNE_KEEP_{what}_DAYS", "0")
    result = retention.apply_retention()
    assert (result["logs"], result["series"], result["answers"]) == (0, 0, 0)


@pytest.mark.parametrize("value", ["29", "-1", "a year"])
def test_a_setting_that_is_no_number_of_days_removes_nothing(monkeypatch, value):
    monkeypatch.setenv("SQLTUNE_KEEP_ANSWERS_DAYS", value)
    with pytest.raises(
        ConfigError, match=f"SQLTUNE_KEEP_ANSWERS_DAYS is {value!r}, expected 30 days or more"
    ):
        retention.apply_retention()
    assert LogStore().runs() == ["new", "old", "unknown"]
