"""Task `gate`: what it logs, records and hands on."""

from __future__ import annotations

import logging

import pytest

from sqltune.config.plan import RunPlan
from sqltune.evaluation import stored
from sqltune.evaluation.audit.flags import Flag
from sqltune.evaluation.score import Score
from sqltune.evaluation.scorer import count
from sqltune.evaluation.suites import held_out
from sqltune.evaluation.verdict import RecordedVerdict, Verdict
from sqltune.records import runs
from sqltune.tasks.gate import judge
from tests.sqltune.evaluation.builders import judged, score_of, speed_of, store


def with_reference_prompt(score: Score, outcome: str, sql: str) -> Score:
    """The score with a reference prompt in it."""
    prompt = judged(
        99, outcome, id="ref-zh-count", question="多少人？", sql=sql, tags=("reference",), must_not_break=True
    )
    return count(score.model, [prompt, *score.answers])


def run_gate(plan) -> object:
    """Run the task for a better candidate; what it hands on."""
    before = with_reference_prompt(score_of(60, wrong=range(20)), "mismatch", "SELECT 1")
    after = with_reference_prompt(score_of(60), "match", "SELECT COUNT(*)\nFROM head")
    key = RunPlan.model_validate(plan).key
    store(key, "before", before)
    store(key, "after", after)
    return judge(plan, before.summary, after.summary)


@pytest.fixture
def log(plan, caplog) -> str:
    """What the task logs."""
    caplog.set_level(logging.INFO)
    run_gate(plan)
    return "\n".join(record.getMessage() for record in caplog.get_records("setup"))


def test_verdict_is_handed_on_without_its_answers(plan):
    verdict = Verdict.model_validate(run_gate(plan))
    assert verdict.passed
    assert verdict.gained == ()


def test_verdict_is_recorded_with_its_table_and_its_answers(plan):
    run_gate(plan)
    recorded = stored.verdict(RunPlan.model_validate(plan).key)
    assert len(recorded.gained) == 20
    assert "40/60 (67%)  60/60 (100%)" in recorded.table


def test_the_plan_counts_as_trained(plan):
    p = RunPlan.model_validate(plan)
    run_gate(plan)
    assert runs.trained_before(p.cluster_name, p.fingerprint) == p.run_id


def test_log_shows_each_reference_prompt_with_its_sql(log):
    assert (
        "  ref-zh-count: 多少人？\n"
        "    before    wrong  SELECT 1\n"
        "    after     right  SELECT COUNT(*) FROM head\n"
        "    expected         SELECT b FROM t WHERE a > 99\n"
    ) in log


def test_log_shows_every_rule(log):
    assert "verdict: passed" in log
    assert "ok  gain: 40 → 60 of 60 correct" in log


def put_doubtful_question(plan) -> str:
    """Record a held-out question with a doubtful gold query, and both models' wrong answer; the run's key."""
    p = RunPlan.model_validate(plan)
    row = {
        "question": "Who?",
        "context": "CREATE TABLE t9 (a INTEGER, b INTEGER)",
        "answer": "SELECT b FROM t9",
    }
    stored.put_held_out(p.key, held_out([row]))
    wrong = judged(
        77, "mismatch", id=stored.held_out(p.key)[0].id, expected_sql=row["answer"], sql="SELECT a FROM t9"
    )
    flags = {"q001": (Flag(reason="unquoted_date", detail="2010-01-01 is the number 2008"),)}
    for phase, score in (("before", score_of(60, wrong=range(20))), ("after", score_of(60))):
        store(p.key, phase, count("m", [*score.answers, wrong], flags))
    return p.key


@pytest.fixture
def doubtful(plan, caplog) -> tuple[RecordedVerdict, str]:
    """The verdict on a suite with doubtful gold queries, and what the task logs."""
    caplog.set_level(logging.INFO)
    key = put_doubtful_question(plan)
    judge(plan, score_of(1).summary, score_of(1).summary)
    return stored.verdict(key), "\n".join(r.getMessage() for r in caplog.get_records("setup"))


def test_flags_of_the_scores_and_the_agreement_of_both_models_are_recorded(doubtful):
    verdict, _ = doubtful
    reasons = sorted(flag.reason for flags in verdict.flags.values() for flag in flags)
    assert reasons == ["models_agree", "unquoted_date"]


def test_log_shows_the_score_without_doubtful_golds(doubtful):
    _, log = doubtful
    assert "  without doubtful golds      40/59 (68%)  59/59 (100%)" in log
    assert "doubtful gold: models agree   1            1" in log
    assert "doubtful gold q001: unquoted_date: 2010-01-01 is the number 2008" in log


def test_log_says_whether_the_verdict_hangs_on_doubtful_golds(doubtful):
    _, log = doubtful
    assert "ok  doubtful_golds: 2 gold queries are doubtful; 40 → 59 of 59 correct without them" in log


def test_table_shows_the_speed_of_both_models(plan):
    p = RunPlan.model_validate(plan)
    before, after = score_of(60, speed=speed_of(2.0)), score_of(60, speed=speed_of(3.0, answers=45))
    store(p.key, "before", before)
    store(p.key, "after", after)
    judge(plan, before.summary, after.summary)
    lines = [row.split() for row in stored.verdict(p.key).table.splitlines()]
    assert ["answers", "a", "second", "2.00", "(of", "60)", "1.50", "(of", "45)"] in lines
    assert ["p95", "latency", "2.00", "s", "3.00", "s"] in lines
