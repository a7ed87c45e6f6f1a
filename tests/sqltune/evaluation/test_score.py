"""What a score keeps."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from sqltune.evaluation.audit.flags import Flag
from sqltune.evaluation.score import Score, Tally
from sqltune.evaluation.scorer import count, with_flags, without_flagged
from tests.sqltune.evaluation.builders import judged, score_of, speed_of


def test_score_survives_json():
    score = score_of(10, wrong={1}, invalid={2}, vacuous={3}, guarded=2)
    assert Score.model_validate(score.model_dump(mode="json")) == score


def test_summary_has_every_count_and_no_answers():
    score = score_of(10, wrong={1})
    dumped = score.summary.model_dump()
    assert dumped == score.model_dump(exclude={"answers", "flags"})


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


TIE = (Flag(reason="tie_at_limit", detail="rows tie"),)


def test_score_stands_with_and_without_flagged_questions():
    score = with_flags(score_of(10, wrong={0, 1, 5}), {"q000": TIE, "q002": TIE})
    assert (score.matched, score.questions) == (7, 10)
    assert score.unflagged == Tally(matched=6, evaluated=8)
    assert score.flagged == {"tie_at_limit": 2}


def test_score_without_flags_is_the_same_either_way():
    assert score_of(10, wrong={0}).unflagged == Tally(matched=9, evaluated=10)


def test_flags_of_other_questions_are_left_out():
    score = with_flags(score_of(3), {"other": TIE})
    assert score.flags == {}
    assert score.flagged == {}


def test_flagged_question_that_is_not_judged_enters_no_number():
    answers = [*score_of(3).answers, judged(7, "gold_invalid")]
    score = count("m", answers, {"q007": TIE})
    assert score.unflagged == Tally(matched=3, evaluated=3)


def test_score_without_flagged_questions():
    rest = without_flagged(with_flags(score_of(10, wrong={0}), {"q000": TIE}))
    assert [a.id for a in rest.answers] == [f"q{i:03d}" for i in range(1, 10)]
    assert rest.accuracy == 1


def test_score_from_before_the_audit_can_be_read():
    old = score_of(3).model_dump(mode="json", exclude={"flags", "flagged", "unflagged", "corrected"})
    read = Score.model_validate(old)
    assert read.unflagged is None
    assert read.flags == {}


def test_score_keeps_its_speed_with_and_without_flagged_questions():
    flagged = with_flags(score_of(10, speed=speed_of(2.0)), {"q000": TIE})
    assert flagged.speed == without_flagged(flagged).speed == speed_of(2.0)


def test_score_from_before_the_speed_was_measured_can_be_read():
    old = score_of(3).model_dump(mode="json", exclude={"speed"})
    assert Score.model_validate(old).speed is None
