"""Nights over weeks: downtime, daylight saving, and a changed schedule. Airflow's part is played here.

Airflow stores when the next run is due. The scheduler creates that run once it is due, and asks for the next
one; the DAG processor asks again whenever it reads the DAG, with the last run that was created.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from airflow.timetables.base import DagRunInfo, TimeRestriction

from sqltune.timetables import revisions as module
from sqltune.timetables.revisions import RevisionTimetable

ANY = TimeRestriction(earliest=None, latest=None, catchup=False)


class Airflow:
    """A scheduler and a DAG processor, with a clock of their own."""

    def __init__(self, patch: pytest.MonkeyPatch, now: str) -> None:
        self.now = datetime.fromisoformat(f"{now}+00:00")
        self.runs: list[datetime] = []
        self._cron = "0 2 * * *"
        self._last: DagRunInfo | None = None
        patch.setattr(module, "utcnow", lambda: self.now)
        self.read()

    def read(self, cron: str | None = None) -> None:
        """The DAG processor reads the DAG, perhaps with another schedule."""
        self._cron = cron or self._cron
        self._next = self._following()

    def look(self) -> None:
        """The scheduler creates what is due, until nothing is."""
        while self._next is not None and self._next.run_after <= self.now:
            self.runs.append(self._next.run_after)
            self._last = self._next
            self._next = self._following()

    def work(self, until: str) -> None:
        """Both work, every ten minutes."""
        end = datetime.fromisoformat(f"{until}+00:00")
        while self.now <= end:
            self.look()
            self.read()
            self.now += timedelta(minutes=10)

    def are_down(self, until: str) -> None:
        """Neither works."""
        self.now = datetime.fromisoformat(f"{until}+00:00")

    def _following(self) -> DagRunInfo | None:
        timetable = RevisionTimetable(self._cron, dag_id="text2sql_retrain", watched=None)
        return timetable.next_dagrun_info_v2(last_dagrun_info=self._last, restriction=ANY)

    @property
    def nights(self) -> list[str]:
        return [f"{run:%m-%d %H:%M}" for run in self.runs]


def test_each_night_has_one_run(monkeypatch):
    airflow = Airflow(monkeypatch, "2026-11-20T13:00")
    airflow.work(until="2026-11-23T13:00")
    assert airflow.nights == ["11-21 02:00", "11-22 02:00", "11-23 02:00"]


def test_the_first_night_is_not_lost_where_the_dag_is_read_just_before_the_scheduler_looks(monkeypatch):
    """Later nights are safe: a run before them says that they were missed."""
    airflow = Airflow(monkeypatch, "2026-11-20T13:00")
    airflow.are_down(until="2026-11-21T02:00:20")
    airflow.read()
    airflow.work(until="2026-11-22T13:00")
    assert airflow.nights == ["11-21 02:00", "11-22 02:00"]


def test_of_a_week_without_airflow_the_last_night_is_made_up(monkeypatch):
    airflow = Airflow(monkeypatch, "2026-11-20T13:00")
    airflow.work(until="2026-11-21T13:00")
    airflow.are_down(until="2026-11-28T09:00")
    airflow.read()
    airflow.work(until="2026-11-29T09:00")
    assert airflow.nights == ["11-21 02:00", "11-28 02:00", "11-29 02:00"]


def test_where_the_scheduler_is_back_before_the_dag_is_read_two_runs_are_made_and_not_seven(monkeypatch):
    """It creates the run that was stored as due a week ago. The second one trains only what is new since."""
    airflow = Airflow(monkeypatch, "2026-11-20T13:00")
    airflow.work(until="2026-11-21T13:00")
    airflow.are_down(until="2026-11-28T09:00")
    airflow.look()
    assert airflow.nights == ["11-21 02:00", "11-22 02:00", "11-28 02:00"]


@pytest.mark.parametrize(
    ("start", "end", "zone"),
    [
        ("2026-03-28T00:00", "2026-03-30T12:00", "Europe/Berlin"),
        ("2026-10-24T00:00", "2026-10-26T12:00", "Europe/Berlin"),
        ("2026-03-07T00:00", "2026-03-09T12:00", "America/New_York"),
    ],
)
def test_daylight_saving_skips_and_doubles_no_night(monkeypatch, start, end, zone):
    """The schedule is in UTC, and the machine's own zone does not count."""
    both = [datetime.fromisoformat(f"{moment}+00:00").astimezone(ZoneInfo(zone)) for moment in (start, end)]
    assert both[0].utcoffset() != both[1].utcoffset()
    monkeypatch.setenv("TZ", zone)
    airflow = Airflow(monkeypatch, start)
    airflow.work(until=end)
    assert len(airflow.runs) == 3
    assert {run.astimezone(UTC).hour for run in airflow.runs} == {2}
    assert airflow.runs[2] - airflow.runs[0] == timedelta(hours=48)


@pytest.mark.parametrize(
    ("cron", "nights"),
    [
        # Later the same day: tonight has had its run, and the new time of today was not there to be missed.
        ("0 1 * * *", ["11-22 02:00", "11-23 01:00"]),
        ("0 22 * * *", ["11-22 02:00", "11-22 22:00", "11-23 22:00"]),
        ("0 2 * * 6", ["11-22 02:00", "11-28 02:00"]),
    ],
)
def test_a_changed_schedule_holds_from_the_next_time_on(monkeypatch, cron, nights):
    airflow = Airflow(monkeypatch, "2026-11-21T13:00")
    airflow.work(until="2026-11-22T13:00")
    airflow.read(cron)
    airflow.work(until="2026-11-28T13:00" if cron.endswith("6") else "2026-11-23T23:00")
    assert airflow.nights[: len(nights)] == nights


def test_a_schedule_that_is_moved_to_an_hour_that_has_passed_makes_that_hour_up(monkeypatch):
    """A surprise of this schedule: at 13:00, a change from 02:00 to 12:00 starts a run at once."""
    airflow = Airflow(monkeypatch, "2026-11-21T13:00")
    airflow.work(until="2026-11-22T13:00")
    airflow.read("0 12 * * *")
    airflow.look()
    assert airflow.nights == ["11-22 02:00", "11-22 12:00"]
