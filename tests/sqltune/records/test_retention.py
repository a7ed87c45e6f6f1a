"""What is removed of old runs, on both engines."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import func, select, update

from sqltune.records import answers, database, evaluations, promotions, retention, runs, series, verdicts
from sqltune.records.evaluations import EvaluationRecord, JudgementRecord
from sqltune.records.models import Answer, Run
from sqltune.records.questions import QuestionRecord
from sqltune.records.types import now
from sqltune.registry import versions
from ssh_gang.gpus import Gpu
from ssh_gang.progress import Progress
from tests.plans import run_plan
from tests.versions import registered

YEAR = timedelta(days=365)
QUESTION = QuestionRecord(name="q1", question="?", context="CREATE TABLE t (x)", gold="SELECT 1")


@pytest.fixture(autouse=True)
def three_runs(engine):
    """A run of 400 days ago, one of 300 days ago, and one of now; two asked the same model before."""
    for name, days in (("old", 400), ("middle", 300), ("new", 0)):
        runs.put_plan(run_plan(name))
        series.put_iteration(name, "try1", now(), Progress(step=1, total=2, loss=1.0))
        series.put_gpu_samples(name, "try1", "host-a", now(), [Gpu(index=0, memory_used=1, memory_total=2)])
        evaluate(name, "before", "base" if name != "new" else "champion")
        evaluate(name, "after", name)
        verdicts.put(name, passed=True, table="t", decision={}, rules=[])
        registered(name)
        age(name, days)
    with database.writing() as session:
        session.execute(update(Answer).values(at=now() - timedelta(days=400)))


def evaluate(run: str, phase: str, model: str) -> None:
    answers.put(model, "d", {"p1": f"answer of {model}"})
    judged = JudgementRecord(QUESTION, "p1", "match")
    evaluations.put(
        run,
        phase,
        EvaluationRecord(model, model, questions=1, matched=1, score={"matched": 1}, judgements=[judged]),
        "d",
    )


def age(run: str, days: int) -> None:
    with database.writing() as session:
        moment = now() - timedelta(days=days)
        session.execute(update(Run).where(Run.key == run).values(active_at=moment))


def given(run: str, phase: str) -> list[str]:
    return [judged.answer for judged in evaluations.get(run, phase).judgements]


def test_a_run_is_old_when_nothing_was_recorded_of_it_for_so_long():
    assert retention.old_runs(now() - YEAR, set()) == ["old"]
    assert retention.old_runs(now() - timedelta(days=200), {"middle"}) == ["old"]


def test_the_series_of_old_runs_go():
    assert retention.remove_series(now() - YEAR, set()) == 2
    assert [len(series.iterations(run)) for run in ("old", "middle", "new")] == [0, 1, 1]
    assert retention.remove_series(now() - YEAR, set()) == 0


def test_answers_of_old_runs_go_and_those_that_a_newer_run_shares_stay():
    assert retention.remove_answers(now() - YEAR, set()) == 2 + 1
    assert (given("old", "before"), given("old", "after")) == ([], [])
    assert (given("middle", "before"), given("middle", "after")) == (["answer of base"], ["answer of middle"])
    with database.reading() as session:
        assert session.scalar(select(func.count()).select_from(Answer)) == 4


def test_an_evaluation_that_began_again_with_another_model_keeps_its_answers_until_it_is_judged():
    evaluations.put_progress("new", "before", "other", "other", answered=0, questions=1)
    assert retention.remove_answers(now() - YEAR, set()) == 2 + 1


def test_a_run_that_is_to_stay_stays_whole():
    assert retention.remove_series(now() - YEAR, {"old"}) == 0
    assert retention.remove_answers(now() - YEAR, {"old"}) == 0
    assert given("old", "after") == ["answer of old"]


def test_what_a_run_came_to_stays():
    promotions.promote(versions.version("lab", 1), "gate", "old")
    retention.remove_series(now(), set())
    retention.remove_answers(now(), set())
    summary = runs.summary("old")
    assert (summary.version, summary.matched_before, summary.matched_after) == (1, 1, 1)
    assert summary.state is runs.State.PROMOTED
    assert [v.run_key for v in versions.versions("lab")] == ["old", "middle", "new"]
    assert runs.plan("old") is not None


def test_the_size_is_that_of_the_database():
    before = retention.size()
    answers.put("large", "d", {str(n): "x" * 10_000 for n in range(50)})
    assert before > 0
    assert retention.size() > before
