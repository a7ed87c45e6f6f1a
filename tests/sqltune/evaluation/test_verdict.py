"""A verdict as text, and as it is passed on."""

from __future__ import annotations

from sqltune.evaluation.audit.flags import Flag
from sqltune.evaluation.gate import decide
from sqltune.evaluation.scorer import with_flags
from sqltune.evaluation.verdict import RecordedVerdict, RuleResult, Verdict
from tests.sqltune.evaluation.builders import score_of
from tests.sqltune.evaluation.test_gate import RULES

PASSED = decide(score_of(60, wrong=range(9)), score_of(60), RULES)
FLAGS = {"q001": (Flag(reason="tie_at_limit", detail="rows tie at its LIMIT"),)}
HANGS = decide(
    with_flags(score_of(60, wrong=range(9)), FLAGS | {f"q{i:03d}": FLAGS["q001"] for i in range(9)}),
    score_of(60),
    RULES,
)
HELD_BACK = decide(score_of(60), score_of(60, wrong=range(9)), RULES)


def test_passed_verdict_as_text(golden):
    golden("verdict_passed.txt", f"{PASSED}\n")


def test_held_back_verdict_as_text(golden):
    golden("verdict_held_back.txt", f"{HELD_BACK}\n")


def test_verdict_that_hangs_on_doubtful_golds_as_text(golden):
    golden("verdict_hangs_on_doubtful_golds.txt", f"{HANGS}\n")


def test_headline_of_a_passed_verdict():
    assert PASSED.headline == "passed"


def test_headline_names_the_failed_rules():
    assert HELD_BACK.headline == "held back: gain, not_worse, gain_by_rows"


def test_verdict_survives_json():
    assert Verdict.model_validate(HELD_BACK.model_dump(mode="json")) == HELD_BACK


def test_verdict_without_answers_keeps_its_rules():
    small = HELD_BACK.without_answers
    assert small.lost == ()
    assert small.rules == HELD_BACK.rules
    assert small.headline == HELD_BACK.headline


def test_verdict_without_answers_has_no_flags():
    assert HANGS.flags
    assert HANGS.without_answers.flags == {}


def test_recorded_verdict_survives_json_with_its_table():
    recorded = RecordedVerdict.of(HELD_BACK, "before  after")
    assert RecordedVerdict.model_validate(recorded.model_dump(mode="json")) == recorded
    assert recorded.table == "before  after"
    assert recorded.lost == HELD_BACK.lost


def test_recorded_verdict_without_answers_keeps_its_table():
    assert RecordedVerdict.of(HELD_BACK, "before  after").without_answers.table == "before  after"


TRIAL = RuleResult(id="trial", passed=False, value=0.1, limit=0.02, explanation="failed 10 %")


def test_a_further_rule_that_is_not_met_holds_back():
    assert PASSED.with_rule(TRIAL).headline == "held back: trial"


def test_a_further_remark_holds_nothing_back():
    assert PASSED.with_rule(TRIAL.model_copy(update={"advisory": True})).headline == "passed"


def test_a_further_rule_takes_the_place_of_its_earlier_result():
    met = TRIAL.model_copy(update={"passed": True})
    again = PASSED.with_rule(TRIAL).with_rule(met)
    assert again.passed
    assert again.rules == (*PASSED.rules, met)


def test_a_further_rule_that_is_met_passes_nothing_that_is_held_back():
    met = TRIAL.model_copy(update={"passed": True})
    assert HELD_BACK.with_rule(met).headline == HELD_BACK.headline
