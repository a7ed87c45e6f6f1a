"""Runs in the list, and how far each has come."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from sqltune.records import evaluations, promotions, runs, verdicts
from sqltune.records.errors import UnknownRun
from sqltune.records.evaluations import EvaluationRecord
from sqltune.records.runs import State
from tests.databases import statements
from tests.plans import run_plan
from tests.versions import registered

pytestmark = pytest.mark.usefixtures("engine")


def scored(matched: int) -> EvaluationRecord:
    return EvaluationRecord(model="m", model_hash="h", questions=10, matched=matched, score={}, judgements=[])


def test_a_plan_is_read_back_whole():
    plan = run_plan()
    runs.put_plan(plan)
    assert type(plan).model_validate(runs.plan("r1")) == plan


def test_a_run_without_a_plan_has_none():
    assert runs.plan("r1") is None
    assert runs.summary("r1") is None


def test_a_second_try_of_plan_replaces_the_first():
    runs.put_plan(run_plan())
    created = runs.summary("r1").created_at
    runs.put_plan(run_plan(dataset_commit="fedcba"))
    assert runs.summary("r1").dataset_commit == "fedcba"
    assert runs.summary("r1").created_at == created
    assert runs.count() == 1


def test_what_is_recorded_of_an_unplanned_run_is_refused():
    with pytest.raises(UnknownRun, match="run 'r9' is not in the database"):
        runs.put_trained("r9", {})


def test_the_state_follows_what_was_recorded():
    states = []

    def note() -> None:
        states.append(runs.summary("r1").state)

    runs.put_plan(run_plan())
    note()
    runs.put_trained("r1", {"step": 4})
    note()
    verdicts.put("r1", passed=False, table="", decision={}, rules=[])
    note()
    verdicts.put("r1", passed=True, table="", decision={}, rules=[])
    note()
    promotions.promote(registered("r1"), "gate", "r1")
    note()
    assert states == [State.PLANNED, State.TRAINED, State.HELD_BACK, State.PASSED, State.PROMOTED]


def test_a_revision_is_compared_with_the_newest_older_one_that_passed():
    def judged(run_id: str, commit: str, day: int, *, passed: bool = True, cluster: str = "lab") -> None:
        date = f"2026-11-{day:02}T00:00:00+00:00"
        runs.put_plan(run_plan(run_id, dataset_commit=commit, dataset_date=date, cluster_name=cluster))
        verdicts.put(run_id, passed=passed, table="", decision={}, rules=[])

    def before(day: int, commit: str = "own") -> str | None:
        return runs.commit_before("lab", "team/data", commit, datetime(2026, 11, day, tzinfo=UTC))

    judged("r3", "third", 3)
    judged("r1", "first", 1)
    judged("r4", "held back", 4, passed=False)
    judged("r5", "elsewhere", 5, cluster="other")
    runs.put_plan(run_plan("r6", dataset_commit="planned", dataset_date="2026-11-06T00:00:00+00:00"))
    assert before(10) == "third"
    assert before(10, commit="third") == "first"
    assert before(2) == "first"
    assert before(1, commit="first") is None
    assert runs.commit_before("lab", "team/other", "own", datetime(2026, 11, 10, tzinfo=UTC)) is None


def test_a_run_with_nothing_new_names_the_one_that_trained():
    runs.put_plan(run_plan("r2"))
    runs.put_same_as("r2", "r1")
    assert runs.summary("r2").state is State.NOTHING_NEW
    assert runs.summary("r2").same_as == "r1"


def test_what_was_trained_is_read_back():
    runs.put_plan(run_plan())
    assert runs.trained("r1") is None
    runs.put_trained("r1", {"config_text": "lr = 1"})
    assert runs.trained("r1") == {"config_text": "lr = 1"}


def test_the_list_shows_the_newest_first_with_scores_and_version():
    runs.put_plan(run_plan("r1"))
    runs.put_plan(run_plan("r2"))
    evaluations.put("r1", "before", scored(3), "d")
    evaluations.put("r1", "after", scored(7), "d")
    registered("r1")
    second, first = runs.summaries()
    assert (first.key, first.questions, first.matched_before, first.matched_after) == ("r1", 10, 3, 7)
    assert first.version == 1
    assert (second.key, second.matched_after, second.version) == ("r2", None, None)


def test_the_list_reads_none_of_the_documents_of_a_run():
    """They are most of a run: a page of the list would read a megabyte of them."""
    runs.put_plan(run_plan())
    runs.put_trained("r1", {"config_text": "lr = 1"})
    with statements() as sent:
        (summary,) = runs.summaries()
    assert summary.state is State.TRAINED
    assert [name for name in ("runs.plan", "runs.estimate", "runs.trained,") if name in "".join(sent)] == []
    assert "runs.trained IS NOT NULL" in "".join(sent)


def test_an_unfinished_evaluation_has_no_score_in_the_list():
    runs.put_plan(run_plan())
    evaluations.put_progress("r1", "after", model="m", model_hash="h", answered=3, questions=10)
    assert runs.summary("r1").matched_after is None


def test_the_list_is_limited_to_a_cluster_and_a_page():
    for name in ("r1", "r2", "r3"):
        runs.put_plan(run_plan(name, cluster_name="gpu" if name == "r2" else "lab"))
    assert [r.key for r in runs.summaries(cluster="lab")] == ["r3", "r1"]
    assert [r.key for r in runs.summaries(limit=1, offset=1)] == ["r2"]
    assert runs.count("lab") == 2


def test_the_run_that_recorded_something_last_is_the_most_active():
    runs.put_plan(run_plan("r1"))
    runs.put_plan(run_plan("r2"))
    assert runs.by_activity() == ["r1", "r2"]
    runs.put_trained("r1", {})
    assert runs.by_activity() == ["r2", "r1"]


def test_a_plan_counts_as_trained_when_it_has_a_verdict():
    plan = run_plan()
    runs.put_plan(plan)
    runs.put_trained("r1", {})
    assert runs.trained_before("lab", plan.fingerprint) is None
    verdicts.put("r1", passed=False, table="", decision={}, rules=[])
    assert runs.trained_before("lab", plan.fingerprint) == "r1"
    assert runs.trained_before("lab", run_plan(dataset_commit="other").fingerprint) is None
    assert runs.trained_before("other", plan.fingerprint) is None


def test_the_newest_of_two_that_trained_the_same_is_named():
    for name in ("r1", "r2"):
        runs.put_plan(run_plan(name))
        verdicts.put(name, passed=True, table="", decision={}, rules=[])
    assert runs.trained_before("lab", run_plan().fingerprint) == "r2"
