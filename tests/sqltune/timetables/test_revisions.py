"""Which revision the schedule names next, and what it lists for a backfill. It is used as Airflow uses it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from airflow.exceptions import InvalidPartitionKeyError
from airflow.timetables.base import DagRunInfo, TimeRestriction
from airflow.utils.types import DagRunType

from sqltune.config.recipe import Revisions
from sqltune.config.watched import Watched
from sqltune.records import revisions, runs, verdicts
from sqltune.records.revisions import Commit, Feed, Reading
from sqltune.timetables import revisions as module
from sqltune.timetables.revisions import RevisionTimetable
from tests.plans import run_plan

DAG = "text2sql_retrain"
FEED = Feed("lab", "lab_tiny", "team/data")
OCTOBER = datetime(2026, 10, 1, tzinfo=UTC)
ANY = TimeRestriction(earliest=None, latest=None, catchup=False)
HOUR = timedelta(hours=1)


class Clock:
    """The time for the schedule and for the records."""

    def __init__(self, patch) -> None:
        self.now = datetime(2026, 11, 24, 13, 0, tzinfo=UTC)
        patch.setattr(module, "utcnow", lambda: self.now)
        patch.setattr(revisions, "now", lambda: self.now)

    def at(self, text: str) -> None:
        self.now = datetime.fromisoformat(f"2026-11-{text}:00+00:00")


@pytest.fixture
def clock(records, monkeypatch) -> Clock:
    return Clock(monkeypatch)


@pytest.fixture
def deleted(monkeypatch) -> set[str]:
    """Runs that Airflow has no more."""
    gone: set[str] = set()
    monkeypatch.setattr(RevisionTimetable, "_existing", lambda self, asked: set(asked) - gone)
    return gone


@pytest.fixture
def with_run(monkeypatch, deleted) -> set[str]:
    """Commits that have a run in Airflow."""
    commits: set[str] = set()
    monkeypatch.setattr(RevisionTimetable, "_with_run", lambda self, asked: commits & set(asked))
    return commits


def timetable(policy: str = "nightly", quiet_period: int = 60) -> RevisionTimetable:
    """The schedule, after serialisation to JSON and back."""
    watched = Watched(
        cluster="lab",
        recipe="lab_tiny",
        dataset_repo="team/data",
        hub_endpoint="http://127.0.0.1:1",
        revisions=Revisions(policy=policy, quiet_period=quiet_period),
    )
    made = RevisionTimetable("0 2 * * *", dag_id=DAG, watched=watched)
    return RevisionTimetable.deserialize(json.loads(json.dumps(made.serialize())))


def see(letters: str, tags=None, day: int = 0) -> None:
    commits = [Commit(c * 40, OCTOBER + timedelta(days=n), "author", c) for n, c in enumerate(letters)]
    head = revisions.watermark(FEED).head
    revisions.observe(FEED, Reading(commits=commits, read_from=head, tags=tags or {}), "watcher")


def look() -> None:
    """The watcher finds nothing new."""
    revisions.observe(FEED, Reading(commits=None, read_from=revisions.watermark(FEED).head), "watcher")


def claimed(letter: str, run_id: str = "r1", is_partition: bool = True, judged: bool = False) -> None:
    plan = run_plan(run_id, dataset_commit=letter * 40)
    revisions.claim(FEED, letter * 40, run_id, plan.fingerprint, is_partition=is_partition, skips_older=False)
    if judged:
        runs.put_plan(plan)
        verdicts.put(run_id, passed=True, table="", decision={}, rules=[])


def following(policy: str = "nightly", last: DagRunInfo | None = None, quiet_period: int = 60) -> str | None:
    """The next run as text: its partition's first letter or the night's key, and when it starts."""
    info = timetable(policy, quiet_period).next_dagrun_info_v2(last_dagrun_info=last, restriction=ANY)
    if info is None:
        return None
    key = info.partition_key if info.partition_key.startswith("night") else info.partition_key[0]
    return f"{key} {info.run_after:%d %H:%M}"


def ran(at: str, key: str = "z" * 40) -> DagRunInfo:
    moment = datetime.fromisoformat(f"2026-11-{at}:00+00:00")
    return DagRunInfo(moment, None, partition_date=moment, partition_key=key)


def test_the_newest_commit_is_trained_in_the_next_night(clock, with_run):
    see("ab")
    assert following() == "b 25 02:00"


def test_a_night_without_a_new_commit_has_no_run(clock, with_run):
    see("ab")
    claimed("b")
    assert following() is None


def test_a_night_looks_for_its_commit_itself_where_nothing_was_recorded(clock, with_run):
    assert following() == "night-2026-11-25T02:00:00Z 25 02:00"


def test_a_night_looks_itself_where_the_watcher_does_not_reach_the_hub(clock, with_run):
    see("ab")
    claimed("b")
    clock.now += HOUR
    assert following() == "night-2026-11-25T02:00:00Z 25 02:00"


def test_a_night_looks_itself_where_the_database_does_not_answer(clock, with_run, monkeypatch):
    from sqltune.records import database

    database.close()
    monkeypatch.setenv("SQLTUNE_DATABASE_URL", "postgresql+psycopg2://me@127.0.0.1:1/records")
    assert following() == "night-2026-11-25T02:00:00Z 25 02:00"


@pytest.mark.parametrize("switched_on", ["24T02:01", "24T02:04", "24T02:54", "24T13:00", "24T01:59"])
def test_switched_on_at_any_hour_it_waits_for_the_next_night(clock, with_run, switched_on):
    clock.at(switched_on)
    see("ab")
    start = timetable().next_dagrun_info_v2(last_dagrun_info=None, restriction=ANY).run_after
    assert clock.now < start <= clock.now + 24 * HOUR


def test_a_commit_that_came_just_before_the_night_is_trained_in_it(clock, with_run):
    clock.at("24T01:59")
    see("ab")
    clock.at("24T02:03")
    assert following(last=ran("23T02:00")) == "b 24 02:00"


def test_a_commit_that_came_after_the_night_waits_for_the_next_one(clock, with_run):
    clock.at("24T02:03")
    see("ab")
    assert following(last=ran("20T02:00")) == "b 25 02:00"


def test_a_night_that_was_missed_is_made_up_once(clock, with_run):
    see("ab")
    clock.at("29T09:00")
    look()
    assert following(last=ran("24T02:00")) == "b 29 02:00"
    assert following(last=ran("29T02:00", "b" * 40)) is None


def test_a_backfill_does_not_make_up_last_night(clock, with_run):
    clock.at("23T12:00")
    see("abc")
    clock.at("24T13:00")
    look()
    backfilled = next(iter(timetable().iter_partition_dagrun_infos(earliest=OCTOBER, latest=OCTOBER)))
    assert following(last=backfilled) == "c 25 02:00"


def test_newest_is_trained_when_the_branch_is_quiet(clock, with_run):
    see("a")
    clock.at("24T13:10")
    see("abc")
    assert following("newest", quiet_period=300) == "c 24 13:15"


def test_each_is_trained_in_the_branchs_order(clock, with_run):
    see("a")
    see("abc")
    assert following("each") == "a 24 13:01"
    with_run.add("a" * 40)
    assert following("each") == "b 24 13:01"


def test_five_commits_in_a_minute_are_one_training(clock, with_run):
    for number in range(1, 6):
        clock.at(f"24T13:0{number}")
        see("abcdef"[: number + 1])
        assert following("newest", quiet_period=120) == f"{'abcdef'[number]} 24 13:0{number + 2}"
    clock.at("24T13:07")
    look()
    assert following("newest", ran("24T13:07", "f" * 40), quiet_period=120) is None


def test_tagged_waits_for_the_tag(clock, with_run):
    see("a")
    see("abc")
    assert following("tagged") is None
    see("abc", tags={"b" * 40: ["v1"]})
    assert following("tagged") == "b 24 13:01"


def test_the_run_that_the_scheduler_has_just_created_is_not_created_again(clock, with_run):
    """It asks before it has committed that run."""
    see("a")
    see("ab")
    assert following("each", last=ran("24T13:00", "a" * 40)) == "b 24 13:01"


def test_under_newest_an_older_commit_is_not_trained_after_the_newest(clock, with_run):
    see("a")
    see("ab")
    with_run.add("b" * 40)
    assert following("newest") is None


@pytest.mark.parametrize("policy", ["newest", "each"])
def test_what_a_run_has_claimed_that_was_deleted_waits_again(clock, with_run, deleted, policy):
    see("a")
    claimed("a", "r1")
    assert following(policy) is None
    deleted.add("r1")
    assert following(policy) == "a 24 13:01"


def test_a_trained_commit_does_not_wait_again_when_its_run_is_deleted(clock, with_run, deleted):
    see("a")
    claimed("a", "r1", judged=True)
    deleted.add("r1")
    assert following("each") is None


def test_a_commit_whose_run_was_deleted_is_left_where_a_later_one_was_trained(clock, with_run, deleted):
    """Old runs are deleted by `airflow db clean`."""
    see("a")
    see("ab")
    claimed("a", "r1")
    claimed("b", "r2", judged=True)
    deleted |= {"r1", "r2"}
    assert following("each") is None


def listed(first: datetime, last: datetime) -> str:
    infos = timetable().iter_partition_dagrun_infos(earliest=first, latest=last)
    return "".join(info.partition_key[0] for info in infos)


def test_a_backfill_lists_the_commits_of_the_range_in_order(clock, with_run):
    see("abcde")
    assert listed(OCTOBER + timedelta(days=1), OCTOBER + timedelta(days=3)) == "bcd"


def test_a_bound_without_a_time_of_day_means_the_whole_day(clock, with_run):
    commit = Commit("a" * 40, OCTOBER + 8 * HOUR, "author", "a")
    revisions.observe(FEED, Reading(commits=[commit], read_from=None), "watcher")
    assert listed(OCTOBER, OCTOBER) == "a"
    assert listed(OCTOBER, OCTOBER + HOUR) == ""


def test_a_backfill_leaves_out_what_a_run_of_the_form_has_trained(clock, with_run):
    see("abc")
    claimed("b", is_partition=False, judged=True)
    assert listed(OCTOBER, OCTOBER + timedelta(days=9)) == "ac"


def test_what_a_partition_has_trained_is_listed_for_reprocessing(clock, with_run):
    """Airflow itself leaves it out otherwise."""
    see("abc")
    claimed("b", judged=True)
    assert listed(OCTOBER, OCTOBER + timedelta(days=9)) == "abc"


def test_a_backfill_leaves_out_what_the_branch_has_no_more(clock, with_run):
    see("abc")
    see("abx")
    assert listed(OCTOBER, OCTOBER + timedelta(days=9)) == "abx"


def test_a_run_id_carries_the_commit(clock):
    moment = datetime(2026, 11, 24, 2, tzinfo=UTC)
    run_id = timetable().generate_run_id(
        run_type=DagRunType.BACKFILL_JOB, run_after=moment, data_interval=None, partition_key="0123456789" * 4
    )
    assert run_id == "backfill__2026-11-24T02:00:00+00:00__012345678901"


def test_a_run_by_hand_has_the_usual_id(clock):
    moment = datetime(2026, 11, 24, 2, tzinfo=UTC)
    run_id = timetable().generate_run_id(run_type=DagRunType.MANUAL, run_after=moment, data_interval=None)
    assert run_id == "manual__2026-11-24T02:00:00+00:00"


def test_a_runs_partition_date_is_the_one_that_a_backfill_looks_for(clock, with_run):
    see("ab")
    info = next(iter(timetable().iter_partition_dagrun_infos(earliest=OCTOBER, latest=OCTOBER)))
    assert timetable().resolve_partition_date("a" * 40) == info.partition_date


def test_a_partition_that_is_no_recorded_commit_is_refused(clock):
    with pytest.raises(InvalidPartitionKeyError, match="not a recorded commit of team/data"):
        timetable().resolve_partition_date("f" * 40)
    with pytest.raises(InvalidPartitionKeyError, match="'main' is not a commit"):
        timetable().resolve_partition_date("main")


def test_a_nights_key_is_its_date(clock):
    assert timetable().resolve_partition_date("night-2026-11-25T02:00:00Z") == datetime(
        2026, 11, 25, 2, tzinfo=UTC
    )


def test_schedules_are_equal_where_they_make_the_same_runs():
    assert timetable() == timetable()
    assert hash(timetable()) == hash(timetable())


@pytest.mark.parametrize("other", [timetable("newest"), timetable(quiet_period=90), "0 2 * * *"])
def test_a_schedule_differs_from_one_that_makes_other_runs(other):
    assert timetable() != other
