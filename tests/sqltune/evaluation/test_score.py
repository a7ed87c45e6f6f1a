"""What a score keeps."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from sqltune.evaluation.score import Score
from sqltune.evaluation.scorer import count
from tests.sqltune.evaluation.builders import judged, score_of


def test_score_survives_json():
    score = score_of(10, wrong={1}, invalid={2}, vacuous={3}, guarded=2)
    assert Score.model_validate(score.model_dump(mode="json")) == score


def test_summary_has_every_count_and_no_answers():
    score = score_of(10, wrong={1})
    dumped = score.summary.model_dump()
    assert dumped == score.model_dump(exclude={"answers"})


def test_score_can_not_be_changed():
    with pytest.raises(ValidationError, match="frozen"):
        score_of(3).matched = 4


def test_shares_of_a_score():
    score = score_of(10, wrong={0, 1}, invalid={2}, vacuous={3})
    assert score.accuracy == 0.7
    assert score.invalid_share == 0.1
    assert score.vacuous_share == pytest.approx(1 / 7)


def test_shares_without_questions_are_zero():
    empty = count("m", [])
    assert (empty.accuracy, empty.invalid_share, empty.vacuous_share) == (0, 0, 0)


def test_answer_with_an_invalid_gold_query_is_not_counted():
    score = count("m", [judged(0), judged(1, "gold_invalid")])
    assert (score.questions, score.matched, score.not_judged) == (1, 1, 1)


def test_reference_prompts_are_not_counted():
    score = count("m", [judged(0), judged(1, "mismatch", tags=("reference",))])
    assert (score.questions, score.matched) == (1, 1)
    assert score.reference_prompts == {"q001": False}
    assert [answer.id for answer in score.reference_answers] == ["q001"]
