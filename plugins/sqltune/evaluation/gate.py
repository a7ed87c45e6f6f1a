"""The gate: decides from two scores whether the candidate may be served."""

from __future__ import annotations

from dataclasses import replace

from sqltune.config.gate_rules import GateRules
from sqltune.errors import ScoringError
from sqltune.evaluation.audit.flags import merged
from sqltune.evaluation.rules import RULES, AnswerPair, Evidence, apply
from sqltune.evaluation.score import JudgedAnswer, Score
from sqltune.evaluation.scorer import with_flags, without_flagged
from sqltune.evaluation.statistics import compare
from sqltune.evaluation.verdict import ChangedAnswer, Verdict


def decide(before: Score, after: Score, limits: GateRules) -> Verdict:
    """Apply every rule of the gate.

    Args:
        before: score of the model that is served now.
        after: score of the candidate, on the same questions.
        limits: the limits of `gate.yaml`, with the recipe's own on top.

    Raises:
        ScoringError: the two models were not evaluated on the same questions.
    """
    evidence = gather(before, after, limits.confidence)
    results = apply(RULES, evidence, limits)
    return Verdict(
        passed=all(result.passed for result in results if not result.advisory),
        rules=results,
        comparison=evidence.comparison,
        gained=tuple(_change(pair, evidence) for pair in evidence.gained),
        lost=tuple(_change(pair, evidence) for pair in evidence.lost),
        flags=evidence.flags,
    )


def gather(before: Score, after: Score, confidence: float) -> Evidence:
    """Pair the two models' answers.

    Args:
        before: score of the model that is served now.
        after: score of the candidate; a question that either score flags is doubtful.
        confidence: level of the difference's interval, between 0 and 1.

    Raises:
        ScoringError: the two models were not evaluated on the same questions.
    """
    flags = merged(before.flags, after.flags)
    evidence = _paired(before, after, confidence)
    if not flags:
        return evidence
    before, after = (without_flagged(with_flags(score, flags)) for score in (before, after))
    return replace(evidence, flags=flags, unflagged=_paired(before, after, confidence))


def _paired(before: Score, after: Score, confidence: float) -> Evidence:
    if sorted(map(_asked, before.answers)) != sorted(map(_asked, after.answers)):
        raise ScoringError(
            f"before has {len(before.answers)} questions and after {len(after.answers)}, and they or their "
            "gold queries are not the same: clear the tasks before.evaluate and after.evaluate"
        )
    candidate = {a.id: a for a in after.answers}
    pairs = [AnswerPair(a, candidate[a.id]) for a in before.answers]
    counted = [p for p in pairs if p.before.counted and p.after.counted]
    gained = tuple(p for p in counted if p.after.correct and not p.before.correct)
    lost = tuple(p for p in counted if p.before.correct and not p.after.correct)
    return Evidence(
        before=before,
        after=after,
        comparison=compare(len(counted), len(gained), len(lost), confidence),
        gained=gained,
        lost=lost,
        guarded=tuple(p for p in pairs if p.before.must_not_break),
    )


def _asked(answer: JudgedAnswer) -> tuple[str, str]:
    """What both models must have been judged by."""
    return answer.id, answer.expected_sql


def _change(pair: AnswerPair, evidence: Evidence) -> ChangedAnswer:
    return ChangedAnswer(
        id=pair.before.id,
        before=_described(pair.before),
        after=_described(pair.after),
        doubts=tuple(dict.fromkeys(flag.reason for flag in evidence.flags.get(pair.before.id, ()))),
    )


def _described(answer: JudgedAnswer) -> str:
    return f"{answer.outcome} ({answer.reason})" if answer.reason else answer.outcome
