"""Task `gate`: what it logs, records and hands on."""

from __future__ import annotations

import logging

import pytest

from sqltune.config.plan import RunPlan
from sqltune.evaluation.score import Score
from sqltune.evaluation.scorer import count
from sqltune.evaluation.verdict import RecordedVerdict, Verdict
from sqltune.records.files import Record
from sqltune.tasks.gate import judge
from tests.sqltune.evaluation.builders import judged, score_of


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
    record = Record.of(RunPlan.model_validate(plan).key)
    record.put("before", before.model_dump(mode="json"))
    record.put("after", after.model_dump(mode="json"))
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
    recorded = RecordedVerdict.model_validate(Record.of(RunPlan.model_validate(plan).key).get("verdict"))
    assert len(recorded.gained) == 20
    assert "40/60 (67%)  60/60 (100%)" in recorded.table


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
