"""The rules of the gate: one function each, from the evidence and the limits to a result.

A limit that a decimal such as 0.005 states is compared with a quotient of two counts. Both are the closest
float to their exact value, so equality needs no tolerance.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from sqltune.config.gate_rules import GateRules
from sqltune.evaluation.audit.flags import Flags
from sqltune.evaluation.score import JudgedAnswer, Score
from sqltune.evaluation.speed import Speed
from sqltune.evaluation.statistics import PairedComparison
from sqltune.evaluation.verdict import RuleResult


@dataclass(frozen=True)
class AnswerPair:
    """Both models' answers to one question."""

    before: JudgedAnswer
    after: JudgedAnswer


@dataclass(frozen=True)
class Evidence:
    """What the rules decide on: two scores on the same questions, and their paired comparison."""

    before: Score
    after: Score
    comparison: PairedComparison
    gained: tuple[AnswerPair, ...]
    lost: tuple[AnswerPair, ...]
    guarded: tuple[AnswerPair, ...]
    flags: Flags = field(default_factory=dict)
    """Why gold queries are doubtful, by question id."""
    unflagged: Evidence | None = None
    """The evidence without those questions; None where there are none."""


def enough_questions(evidence: Evidence, limits: GateRules) -> RuleResult:
    """Enough questions were judged to compare two models at all."""
    judged = evidence.comparison.questions
    return RuleResult(
        id="enough_questions",
        passed=judged >= limits.min_questions,
        value=judged,
        limit=limits.min_questions,
        explanation=f"{judged} judged, at least {limits.min_questions} required",
    )


def gain(evidence: Evidence, limits: GateRules) -> RuleResult:
    """The candidate answers more questions correctly."""
    paired = evidence.comparison
    return RuleResult(
        id="gain",
        passed=gains_enough(paired, limits),
        value=paired.difference,
        limit=limits.min_gain,
        explanation=(
            f"{evidence.before.matched} → {evidence.after.matched} of {evidence.after.questions} correct: "
            f"{_points(paired.difference)} points ({paired.gained} gained, {paired.lost} lost), "
            f"at least {_points(limits.min_gain)} required"
        ),
    )


def gains_enough(paired: PairedComparison, limits: GateRules) -> bool:
    """Whether the observed difference reaches the required gain."""
    return paired.difference >= limits.min_gain


def not_worse(evidence: Evidence, limits: GateRules) -> RuleResult:
    """The candidate is not worse by the margin or more, allowing for chance."""
    paired = evidence.comparison
    return RuleResult(
        id="not_worse",
        passed=surely_not_worse(paired, limits),
        value=paired.low,
        limit=-limits.margin,
        explanation=(
            f"true difference between {_points(paired.low)} and {_points(paired.high)} points "
            f"({limits.confidence:.0%} interval; McNemar's exact p = {paired.p_value:.2g}), "
            f"lower end above {_points(-limits.margin)} required"
        ),
    )


def surely_not_worse(paired: PairedComparison, limits: GateRules) -> bool:
    """Whether the lower end of the difference's interval is above the margin."""
    return paired.low > -limits.margin


def gain_by_rows(evidence: Evidence, limits: GateRules) -> RuleResult:
    """The gain remains without the answers that match only because both results are empty."""
    gained = sum(not pair.after.vacuous for pair in evidence.gained)
    lost = sum(not pair.before.vacuous for pair in evidence.lost)
    questions = evidence.comparison.questions
    proven = (gained - lost) / questions if questions else 0.0
    return RuleResult(
        id="gain_by_rows",
        passed=proven >= limits.min_gain,
        value=proven,
        limit=limits.min_gain,
        explanation=(
            f"{gained - lost:+d} questions without vacuous matches, "
            f"{len(evidence.gained) - len(evidence.lost):+d} with them"
        ),
    )


def guarded(evidence: Evidence, limits: GateRules) -> RuleResult:
    """No question marked `must_not_break` was correct before and is wrong now."""
    broken = [p.before.id for p in evidence.guarded if p.before.correct and not p.after.correct]
    correct_after = sum(p.after.correct for p in evidence.guarded)
    correct_before = sum(p.before.correct for p in evidence.guarded)
    return RuleResult(
        id="guarded",
        passed=not broken,
        value=len(broken),
        limit=0,
        explanation=f"broken: {', '.join(broken)}"
        if broken
        else f"{correct_after} of {len(evidence.guarded)} correct, {correct_before} before",
    )


def floor(evidence: Evidence, limits: GateRules) -> RuleResult:
    """The candidate answers enough questions correctly to be of use."""
    accuracy = evidence.after.accuracy
    return RuleResult(
        id="floor",
        passed=accuracy >= limits.floor,
        value=accuracy,
        limit=limits.floor,
        explanation=f"{accuracy:.1%} correct, at least {limits.floor:.1%} required",
    )


def runs(evidence: Evidence, limits: GateRules) -> RuleResult:
    """Few enough of the candidate's answers are SQL that does not run."""
    share = evidence.after.invalid_share
    return RuleResult(
        id="runs",
        passed=share <= limits.max_invalid,
        value=share,
        limit=limits.max_invalid,
        explanation=(
            f"{share:.1%} do not run, at most {limits.max_invalid:.1%} allowed "
            f"({evidence.before.invalid_share:.1%} before)"
        ),
    )


def not_vacuous(evidence: Evidence, limits: GateRules) -> RuleResult:
    """Few enough of the candidate's correct answers match only because both results are empty."""
    share = evidence.after.vacuous_share
    return RuleResult(
        id="not_vacuous",
        passed=share <= limits.max_vacuous,
        value=share,
        limit=limits.max_vacuous,
        explanation=f"{share:.1%} of the matches are vacuous, at most {limits.max_vacuous:.1%} allowed",
    )


def fast_enough(evidence: Evidence, limits: GateRules) -> RuleResult | None:
    """The candidate's p95 latency is short enough; None where no limit is set."""
    if limits.max_latency is None:
        return None
    after = _reliable_speed(evidence.after, limits)
    return RuleResult(
        id="fast_enough",
        passed=after is None or after.p95 <= limits.max_latency,
        value=after.p95 if after else None,
        limit=limits.max_latency,
        explanation=(
            f"p95 latency {after.p95:.2f} s, at most {limits.max_latency:g} s allowed"
            if after
            else f"not known: {_generated(evidence.after)} in this run, "
            f"at least {limits.min_questions} required"
        ),
    )


def not_slower(evidence: Evidence, limits: GateRules) -> RuleResult | None:
    """The candidate's p95 latency is not too many times the old model's; None where no limit is set."""
    if limits.max_slowdown is None:
        return None
    before, after = (_reliable_speed(score, limits) for score in (evidence.before, evidence.after))
    slowdown = after.p95 / before.p95 if before and after else None
    return RuleResult(
        id="not_slower",
        passed=slowdown is None or slowdown <= limits.max_slowdown,
        value=slowdown,
        limit=limits.max_slowdown,
        explanation=(
            f"p95 latency {before.p95:.2f} → {after.p95:.2f} s: {slowdown:.2f} times, "
            f"at most {limits.max_slowdown:g} times allowed"
            if before and after
            else f"not known: {_generated(evidence.before)} before, {_generated(evidence.after)} after "
            f"in this run, at least {limits.min_questions} of each required"
        ),
    )


def _reliable_speed(score: Score, limits: GateRules) -> Speed | None:
    """A score's speed; None where it was measured over fewer answers than a comparison needs."""
    return score.speed if score.speed and score.speed.answers >= limits.min_questions else None


def _generated(score: Score) -> str:
    return f"{score.speed.answers if score.speed else 0} answers generated"


Rule = Callable[[Evidence, GateRules], RuleResult | None]
"""None where a rule is optional, and its limit is not set."""

DECIDING: tuple[Rule, ...] = (
    enough_questions,
    gain,
    not_worse,
    gain_by_rows,
    guarded,
    floor,
    runs,
    not_vacuous,
    fast_enough,
    not_slower,
)
"""The rules that a candidate must meet."""


def apply(rules: Sequence[Rule], evidence: Evidence, limits: GateRules) -> tuple[RuleResult, ...]:
    """Return the results of rules, without those whose limit is not set."""
    results = (rule(evidence, limits) for rule in rules)
    return tuple(result for result in results if result)


def doubtful_golds(evidence: Evidence, limits: GateRules) -> RuleResult:
    """The verdict is the same without the questions whose gold query is doubtful; a remark."""
    rest = evidence.unflagged or evidence
    failed, failed_without = (_failed(part, limits) for part in (evidence, rest))
    return RuleResult(
        id="doubtful_golds",
        passed=bool(failed) == bool(failed_without),
        value=rest.comparison.difference,
        limit=evidence.comparison.difference,
        explanation=_explained(evidence, rest, failed, failed_without),
        advisory=True,
    )


def _failed(evidence: Evidence, limits: GateRules) -> list[str]:
    return [result.id for result in apply(DECIDING, evidence, limits) if not result.passed]


def _explained(evidence: Evidence, rest: Evidence, failed: list[str], failed_without: list[str]) -> str:
    if not evidence.flags:
        return "no gold query is doubtful"
    doubtful = f"{len(evidence.flags)} gold queries are doubtful"
    without = f"{rest.before.matched} → {rest.after.matched} of {rest.after.questions} correct without them"
    if bool(failed) == bool(failed_without):
        return f"{doubtful}; {without}, and the verdict is the same"
    verdict = f"held back ({', '.join(failed_without)})" if failed_without else "passed"
    return f"the verdict hangs on them: {doubtful}; {without}, and the verdict would be: {verdict}"


RULES: tuple[Rule, ...] = (*DECIDING, doubtful_golds)
"""Every rule, in the order in which a verdict lists them. The id of a rule is the name of its function."""


def _points(share: float) -> str:
    return f"{100 * share:+.1f}"
