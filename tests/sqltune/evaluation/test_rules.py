"""Each rule of the gate by itself."""

from __future__ import annotations

import pytest

from sqltune.config.gate_rules import GateRules
from sqltune.evaluation.audit.flags import Flag
from sqltune.evaluation.gate import gather
from sqltune.evaluation.rules import (
    RULES,
    apply,
    doubtful_golds,
    enough_questions,
    fast_enough,
    gain,
    gain_by_rows,
    guarded,
    not_slower,
    not_worse,
)
from sqltune.evaluation.scorer import with_flags
from tests.sqltune.evaluation.builders import score_of, speed_of

LENIENT = GateRules(
    confidence=0.95,
    margin=1,
    min_gain=-1,
    min_questions=1,
    floor=0,
    max_invalid=1,
    max_vacuous=1,
    max_latency=100,
    max_slowdown=100,
)


def results(before, after, limits):
    """Every rule's result by id."""
    evidence = gather(before, after, limits.confidence)
    return {result.id: result for result in apply(RULES, evidence, limits)}


@pytest.mark.parametrize("rule", RULES)
def test_rule_has_the_name_of_its_function_as_id(rule):
    evidence = gather(score_of(5), score_of(5), 0.95)
    assert rule(evidence, LENIENT).id == rule.__name__


@pytest.mark.parametrize("rule", RULES)
def test_rule_explains_itself_in_one_line(rule):
    explanation = rule(gather(score_of(5), score_of(5), 0.95), LENIENT).explanation
    assert explanation
    assert "\n" not in explanation


@pytest.mark.parametrize(
    ("limits", "after", "failed"),
    [
        ({"min_questions": 61}, {}, "enough_questions"),
        ({"min_gain": 0.2}, {"wrong": range(30)}, "gain"),
        ({"floor": 0.9}, {"wrong": range(10)}, "floor"),
        ({"max_invalid": 0.1}, {"invalid": range(7)}, "runs"),
        ({"max_vacuous": 0.1}, {"vacuous": range(7)}, "not_vacuous"),
    ],
)
def test_limit_fails_its_rule_when_exceeded(limits, after, failed):
    before = score_of(60, wrong=range(40))
    by_id = results(before, score_of(60, **after), LENIENT.model_copy(update=limits))
    assert not by_id[failed].passed


@pytest.mark.parametrize(
    "after", [{}, {"wrong": range(30)}, {"wrong": range(10)}, {"invalid": range(7)}, {"vacuous": range(7)}]
)
def test_lenient_limits_pass_every_rule(after):
    by_id = results(score_of(60, wrong=range(40)), score_of(60, **after), LENIENT)
    assert all(result.passed for result in by_id.values())


def test_rule_reports_value_and_limit_in_one_unit():
    limits = LENIENT.model_copy(update={"min_questions": 61, "floor": 0.9})
    by_id = results(score_of(60), score_of(60, wrong=range(15)), limits)
    assert (by_id["enough_questions"].value, by_id["enough_questions"].limit) == (60, 61)
    assert (by_id["floor"].value, by_id["floor"].limit) == (0.75, 0.9)
    assert (by_id["gain"].value, by_id["gain"].limit) == (-0.25, -1)


@pytest.mark.parametrize(("questions", "gained", "share"), [(200, 1, 0.005), (1000, 3, 0.003), (60, 9, 0.15)])
def test_gain_that_equals_its_limit_passes(questions, gained, share):
    before, after = score_of(questions, wrong=range(gained)), score_of(questions)
    limits = LENIENT.model_copy(update={"min_gain": share})
    evidence = gather(before, after, limits.confidence)
    assert gain(evidence, limits).passed
    assert gain_by_rows(evidence, limits).passed


def test_not_worse_fails_with_one_gained_and_many_discordant_pairs():
    before, after = score_of(60, wrong=range(12)), score_of(60, wrong=range(12, 23))
    limits = LENIENT.model_copy(update={"min_gain": 0.005, "margin": 0.03})
    evidence = gather(before, after, limits.confidence)
    assert gain(evidence, limits).passed
    assert not not_worse(evidence, limits).passed


def test_gain_by_rows_fails_when_the_gain_is_of_empty_results():
    before = score_of(60, wrong=range(25, 60))
    after = score_of(60, wrong=range(20, 30), vacuous=range(30, 60))
    limits = LENIENT.model_copy(update={"min_gain": 0.0, "max_vacuous": 0.3})
    by_id = results(before, after, limits)
    assert after.vacuous == 30
    assert by_id["gain"].value > 0.4
    assert [name for name, result in by_id.items() if not result.passed] == ["gain_by_rows", "not_vacuous"]


def test_guarded_names_the_question_that_broke():
    before, after = score_of(60, wrong=range(3, 40), guarded=3), score_of(60, wrong={1}, guarded=3)
    result = guarded(gather(before, after, 0.95), LENIENT)
    assert not result.passed
    assert result.explanation == "broken: q001"
    assert result.value == 1


def test_guarded_passes_a_question_that_was_wrong_before():
    before, after = score_of(60, wrong={1}, guarded=3), score_of(60, wrong={1}, guarded=3)
    assert guarded(gather(before, after, 0.95), LENIENT).passed


def test_enough_questions_counts_pairs_that_both_models_answered():
    result = enough_questions(gather(score_of(60), score_of(60), 0.95), LENIENT)
    assert result.value == 60


STRICT = LENIENT.model_copy(update={"min_gain": 0.05, "min_questions": 50})
TIE = (Flag(reason="tie_at_limit", detail="rows tie"),)


def doubtful(before, after, flagged, limits=STRICT):
    flags = {f"q{i:03d}": TIE for i in flagged}
    return doubtful_golds(gather(with_flags(before, flags), after, limits.confidence), limits)


def test_without_doubtful_golds_the_verdict_cannot_hang_on_them():
    result = doubtful(score_of(60), score_of(60), ())
    assert result.passed
    assert result.explanation == "no gold query is doubtful"


def test_verdict_that_is_the_same_without_doubtful_golds():
    result = doubtful(score_of(60, wrong=range(9)), score_of(60), range(2))
    assert result.passed
    assert "2 gold queries are doubtful; 51 → 58 of 58 correct without them" in result.explanation


def test_verdict_that_hangs_on_doubtful_golds_is_named():
    result = doubtful(score_of(60, wrong=range(4)), score_of(60), range(3))
    assert not result.passed
    assert result.explanation.startswith("the verdict hangs on them: 3 gold queries are doubtful")
    assert result.explanation.endswith("the verdict would be: held back (gain, gain_by_rows)")


def test_model_that_would_pass_without_doubtful_golds_is_named():
    before, after = score_of(60, wrong=range(4)), score_of(60, wrong=range(10, 14))
    result = doubtful(before, after, range(10, 14))
    assert not result.passed
    assert result.explanation.endswith("the verdict would be: passed")


def test_too_few_questions_without_doubtful_golds_are_named():
    result = doubtful(score_of(60, wrong=range(30)), score_of(60), range(11))
    assert "held back (enough_questions)" in result.explanation


def test_rest_is_compared_with_all():
    result = doubtful(score_of(60, wrong=range(6)), score_of(60), range(3))
    assert result.value == pytest.approx(3 / 57)
    assert result.limit == pytest.approx(6 / 60)


def speed_rule(rule, before, after, **limits):
    """A rule's result for two speeds, either of them None where it is not known."""
    evidence = gather(score_of(60, speed=before), score_of(60, speed=after), 0.95)
    return rule(evidence, LENIENT.model_copy(update=limits))


@pytest.mark.parametrize(("p95", "passed"), [(4.9, True), (5.0, True), (5.01, False)])
def test_latency_up_to_the_limit_is_fast_enough(p95, passed):
    result = speed_rule(fast_enough, None, speed_of(p95), max_latency=5)
    assert result.passed is passed
    assert (result.value, result.limit) == (p95, 5)


@pytest.mark.parametrize(("p95", "passed"), [(1.0, True), (3.0, True), (3.01, False)])
def test_latency_up_to_the_factor_is_not_slower(p95, passed):
    result = speed_rule(not_slower, speed_of(2.0), speed_of(p95), max_slowdown=1.5)
    assert result.passed is passed
    assert (result.value, result.limit) == (p95 / 2, 1.5)


def test_speed_rules_say_what_was_measured_and_what_is_allowed():
    before, after = speed_of(2.0), speed_of(3.0)
    assert speed_rule(fast_enough, before, after, max_latency=2.5).explanation == (
        "p95 latency 3.00 s, at most 2.5 s allowed"
    )
    assert speed_rule(not_slower, before, after, max_slowdown=1.25).explanation == (
        "p95 latency 2.00 → 3.00 s: 1.50 times, at most 1.25 times allowed"
    )


def test_latency_that_is_not_known_passes_and_says_so():
    result = speed_rule(fast_enough, speed_of(1.0), None, max_latency=0.1, min_questions=50)
    assert result.passed
    assert result.value is None
    assert result.explanation == "not known: 0 answers generated in this run, at least 50 required"


@pytest.mark.parametrize(
    ("before", "after", "generated"),
    [
        (None, speed_of(9.0), "0 answers generated before, 60 answers generated after"),
        (speed_of(1.0), None, "60 answers generated before, 0 answers generated after"),
        (speed_of(1.0, answers=49), speed_of(9.0), "49 answers generated before, 60 answers generated after"),
    ],
)
def test_slowdown_that_is_not_known_passes_and_says_so(before, after, generated):
    result = speed_rule(not_slower, before, after, max_slowdown=1, min_questions=50)
    assert result.passed
    assert result.value is None
    assert result.explanation == f"not known: {generated} in this run, at least 50 of each required"


@pytest.mark.parametrize(("answers", "passed"), [(49, True), (50, False)])
def test_latency_of_too_few_answers_does_not_decide(answers, passed):
    slow = speed_of(9.0, answers=answers)
    assert speed_rule(fast_enough, None, slow, max_latency=1, min_questions=50).passed is passed


def test_rules_without_a_limit_are_left_out():
    limits = LENIENT.model_copy(update={"max_latency": None, "max_slowdown": None})
    evidence = gather(score_of(60, speed=speed_of(1.0)), score_of(60, speed=speed_of(9.0)), 0.95)
    listed = [result.id for result in apply(RULES, evidence, limits)]
    assert listed == [rule.__name__ for rule in RULES if rule not in (fast_enough, not_slower)]


def test_slow_model_is_held_back_without_doubtful_golds_too():
    before, after = score_of(60, speed=speed_of(1.0)), score_of(60, speed=speed_of(9.0))
    result = doubtful(before, after, range(3), LENIENT.model_copy(update={"max_latency": 5}))
    assert result.passed
