"""What a trial says of the candidate, as a table."""

from __future__ import annotations

from typing import Any

import pytest

from sqltune.config.trial import Trial
from sqltune.evaluation.trial import fails_too_often, rule
from sqltune.node_contracts.trial import TrialArm, TrialReport

BOUNDS = Trial(mode="shadow", share=0.2, min_requests=50, max_failed_share=0.02, max_slowdown=1.5)


def report(
    candidate: tuple[int, int, float | None], champion: tuple[int, int, float | None], **fields: Any
) -> TrialReport:
    """A report of answered, failed and median of both."""
    arms = {
        name: TrialArm(version="", answered=arm[0], failed=arm[1], median=arm[2])
        for name, arm in (("candidate", candidate), ("champion", champion))
    }
    rest = {"same": 0, "different": 0, "dropped": 0} | fields
    return TrialReport(id="r1", mode="shadow", seconds_left=0, **arms, **rest)


@pytest.mark.parametrize(
    ("candidate", "champion", "outcome"),
    [
        ((100, 0, 1.0), (100, 0, 1.0), "passed"),
        ((98, 2, 1.0), (100, 0, 1.0), "passed"),
        ((97, 3, 1.0), (100, 0, 1.0), "held back"),
        # The champion fails 10 % itself.
        ((88, 12, 1.0), (90, 10, 1.0), "passed"),
        ((87, 13, 1.0), (90, 10, 1.0), "held back"),
        ((100, 0, 1.5), (100, 0, 1.0), "passed"),
        ((100, 0, 1.51), (100, 0, 1.0), "held back"),
        ((50, 0, 1.0), (50, 0, 1.0), "passed"),
        ((49, 0, 9.0), (100, 0, 1.0), "nothing"),
        ((100, 0, 9.0), (49, 0, 1.0), "nothing"),
        ((0, 0, None), (0, 0, None), "nothing"),
        # Its clients have all given up, or its worker is gone.
        ((0, 0, None), (50, 0, 1.0), "held back"),
        ((0, 0, None), (49, 0, 1.0), "nothing"),
        ((0, 1, None), (50, 0, 1.0), "held back"),
        ((1, 0, 1.0), (50, 0, 1.0), "nothing"),
        # More than the one failure that fifty requests may have: whatever came then, it would be too many.
        ((0, 2, None), (10, 0, 1.0), "held back"),
        ((0, 1, None), (10, 0, 1.0), "nothing"),
        ((0, 100, None), (100, 0, 1.0), "held back"),
        ((0, 60, None), (0, 60, None), "passed"),
    ],
)
def test_what_a_trial_decides(candidate, champion, outcome):
    result = rule(report(candidate, champion), BOUNDS)
    decided = "nothing" if result.advisory else "passed" if result.passed else "held back"
    assert decided == outcome


def test_the_line_has_both_models_and_what_is_required():
    explanation = rule(
        report((98, 2, 1.21), (100, 0, 1.1), same=93, different=7, dropped=4), BOUNDS
    ).explanation
    assert explanation == (
        "shadow (20% of the requests, 60 min): the candidate answered 98 of 100, the served model 100 of "
        "100; failed 2.0% (at most 2.0%); median 1.21 s for 1.10 s, 1.10 times (at most 1.5); the same text "
        "in 93 of 100 greedy answers; 4 copies dropped"
    )


@pytest.mark.parametrize(("share", "is_held_back"), [(0.2, True), (0.01, False)])
def test_a_canary_without_an_answer_is_held_back_unless_its_share_is_too_small_to_say(share, is_held_back):
    silent = report((0, 0, None), (60, 0, 1.0)).model_copy(update={"mode": "canary"})
    result = rule(silent, BOUNDS.model_copy(update={"share": share}))
    assert (not result.passed and not result.advisory) is is_held_back
    if is_held_back:
        assert (result.value, result.limit) == (1.0, 0.02)
        assert result.explanation.endswith("; the candidate answered nothing at all")


def test_the_line_says_where_a_trial_says_nothing():
    explanation = rule(report((12, 0, 1.0), (100, 0, 1.0)), BOUNDS).explanation
    assert explanation.endswith(
        "; fewer than 50 requests (12 for the candidate): the trial says nothing, and does not hold the "
        "candidate back"
    )


@pytest.mark.parametrize(
    ("candidate", "value", "limit"), [((97, 3, 1.0), 0.03, 0.02), ((100, 0, 3.0), 3.0, 1.5)]
)
def test_value_and_limit_are_those_of_the_bound_that_is_not_kept(candidate, value, limit):
    result = rule(report(candidate, (100, 0, 1.0)), BOUNDS)
    assert (result.value, result.limit) == (value, limit)


def test_a_bound_of_everything_holds_nothing_back():
    bounds = BOUNDS.model_copy(update={"max_failed_share": 1.0})
    assert not fails_too_often(report((0, 100, None), (100, 0, 1.0)), bounds)
