"""Scores and verdicts come back from the records as they were."""

from __future__ import annotations

import pytest

from sqltune.evaluation import stored
from sqltune.evaluation.audit.flags import Flag
from sqltune.evaluation.questions import Question
from sqltune.evaluation.scorer import score_answers, with_flags
from sqltune.evaluation.speed import measured
from sqltune.evaluation.statistics import compare
from sqltune.evaluation.stored import AnswerSet
from sqltune.evaluation.verdict import ChangedAnswer, RecordedVerdict, RuleResult
from sqltune.records import runs
from tests.plans import run_plan

CONTEXT = "CREATE TABLE head (age INTEGER)"
QUESTIONS = [
    Question(
        id="h1", question="多少人？", context=CONTEXT, gold="SELECT count(*) FROM head", tags=("held_out",)
    ),
    Question(id="h2", question="How old?", context=CONTEXT, gold="SELECT age FROM head", must_not_break=True),
    Question(id="h3", question="Who?", context=CONTEXT, gold="SELECT age FROM head WHERE age > 5"),
]
ANSWERS = {"h1": "```sql\nSELECT count(*) FROM head;\n```", "h2": "SELECT nothing FROM head"}
SET = AnswerSet(model_hash="m", decoding="d")


@pytest.fixture(autouse=True)
def run(engine):
    runs.put_plan(run_plan())


def test_a_score_is_read_back_whole():
    score = score_answers("base", QUESTIONS, ANSWERS, processes=1)
    SET.store(QUESTIONS, ANSWERS)
    stored.put_score("r1", "before", score, QUESTIONS, SET)
    assert stored.score("r1", "before") == score


def test_a_score_is_read_back_with_its_flags():
    flags = {QUESTIONS[0].id: (Flag(reason="tie_at_limit", detail="rows tie"),)}
    score = with_flags(score_answers("base", QUESTIONS, ANSWERS, processes=1), flags)
    SET.store(QUESTIONS, ANSWERS)
    stored.put_score("r1", "before", score, QUESTIONS, SET)
    assert stored.score("r1", "before") == score
    assert stored.summary("r1", "before") == score.summary


def test_a_score_is_read_back_with_its_speed():
    speed = measured([0.5, 1.5], 2.0, tokens=30)
    score = score_answers("base", QUESTIONS, ANSWERS, processes=1).model_copy(update={"speed": speed})
    stored.put_score("r1", "before", score, QUESTIONS, SET)
    assert stored.summary("r1", "before") == score.summary
    assert stored.score("r1", "before").speed == stored.speed("r1", "before", "m") == speed


def test_a_model_that_answered_nothing_in_the_run_has_no_speed():
    assert stored.speed("r1", "before", "m") is None
    stored.put_score("r1", "before", score_answers("base", QUESTIONS, {}, processes=1), QUESTIONS, SET)
    assert stored.speed("r1", "before", "m") is None


def test_a_model_that_was_not_evaluated_has_no_score():
    assert stored.score("r1", "after") is None


def test_answers_are_known_by_prompt_whatever_the_question_is_called():
    SET.store(QUESTIONS, ANSWERS)
    renamed = QUESTIONS[0].model_copy(update={"id": "other"})
    assert SET.load([renamed, QUESTIONS[2]]) == {"other": ANSWERS["h1"]}


def test_another_model_knows_no_answers():
    SET.store(QUESTIONS, ANSWERS)
    assert AnswerSet(model_hash="n", decoding="d").load(QUESTIONS) == {}


def test_held_out_questions_are_read_back_whole():
    assert stored.held_out("r1") == []
    stored.put_held_out("r1", QUESTIONS)
    assert stored.held_out("r1") == QUESTIONS


def test_a_verdict_is_read_back_whole():
    verdict = RecordedVerdict(
        passed=False,
        rules=(RuleResult(id="gain", passed=False, value=0.1, limit=0.2, explanation="too little"),),
        comparison=compare(100, 10, 2),
        gained=(ChangedAnswer(id="h1", before="mismatch", after="match"),),
        table="before  after",
    )
    stored.put_verdict("r1", verdict)
    assert stored.verdict("r1") == verdict


def test_a_run_without_a_verdict_has_none():
    assert stored.verdict("r1") is None
