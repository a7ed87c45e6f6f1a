"""What a trial of the candidate on real requests says of it: one more rule of the verdict."""

from __future__ import annotations

from sqltune.config.trial import Trial
from sqltune.evaluation.verdict import RuleResult
from sqltune.node_contracts.trial import TrialReport

RULE = "trial"
"""Id of the rule."""
EXPECTED = 10
"""Requests that a candidate would have got by its share, where none is no chance: once in 20,000 trials."""


def rule(report: TrialReport, bounds: Trial) -> RuleResult:
    """The trial's rule; only a remark where too few requests came, unless the candidate answered none at all.

    Args:
        report: What the trial has shown.
        bounds: What the candidate must keep, of the cluster file.
    """
    summary = described(report, bounds)
    if fails_too_often(report, bounds):
        return _failed_share(report, bounds, passed=False, explanation=summary)
    if _is_silent(report, bounds):
        explanation = f"{summary}; the candidate answered nothing at all"
        return _failed_share(report, bounds, passed=False, explanation=explanation, value=1.0)
    if problem := _too_few(report, bounds):
        explanation = f"{summary}; {problem}: the trial says nothing, and does not hold the candidate back"
        return _failed_share(report, bounds, passed=False, explanation=explanation, advisory=True)
    slowdown = _slowdown(report)
    if slowdown is not None and slowdown > bounds.max_slowdown:
        return RuleResult(
            id=RULE, passed=False, value=slowdown, limit=bounds.max_slowdown, explanation=summary
        )
    return _failed_share(report, bounds, passed=True, explanation=summary)


def fails_too_often(report: TrialReport, bounds: Trial) -> bool:
    """Whether the candidate failed more often than it may.

    Before `min_requests` have come, only where it would have with all others answered.
    """
    asked = max(report.candidate.asked, bounds.min_requests)
    return report.candidate.failed > _allowed_share(report, bounds) * asked


def _is_silent(report: TrialReport, bounds: Trial) -> bool:
    """Whether the candidate answered nothing, and the served model did: its failures may not be counted.

    Its worker may be gone, or its clients may give up before a failure is one.
    """
    if report.candidate.answered or not report.champion.answered:
        return False
    if report.champion.asked < bounds.min_requests:
        return False
    # In a shadow both models get the same requests.
    return report.mode == "shadow" or report.champion.asked * bounds.share >= EXPECTED * (1 - bounds.share)


def described(report: TrialReport, bounds: Trial) -> str:
    """One line: what both models did, and what was required."""
    candidate, champion = report.candidate, report.champion
    parts = [
        f"{report.mode} ({bounds.share:.0%} of the requests, {bounds.minutes:g} min): the candidate "
        f"answered {candidate.answered} of {candidate.asked}, the served model {champion.answered} of "
        f"{champion.asked}",
        f"failed {candidate.failed_share:.1%} (at most {_allowed_share(report, bounds):.1%})",
    ]
    slowdown = _slowdown(report)
    if slowdown is not None:
        parts.append(
            f"median {candidate.median:.2f} s for {champion.median:.2f} s, {slowdown:.2f} times (at most "
            f"{bounds.max_slowdown:g})"
        )
    if greedy := report.same + report.different:
        parts.append(f"the same text in {report.same} of {greedy} greedy answers")
    if report.dropped:
        parts.append(f"{report.dropped} copies dropped")
    return "; ".join(parts)


def _too_few(report: TrialReport, bounds: Trial) -> str:
    """Which of the models got too few requests to be compared; empty where none did."""
    arms = {"the candidate": report.candidate, "the served model": report.champion}
    few = [f"{arm.asked} for {name}" for name, arm in arms.items() if arm.asked < bounds.min_requests]
    return f"fewer than {bounds.min_requests} requests ({', '.join(few)})" if few else ""


def _allowed_share(report: TrialReport, bounds: Trial) -> float:
    return min(1.0, report.champion.failed_share + bounds.max_failed_share)


def _slowdown(report: TrialReport) -> float | None:
    ours, served = report.candidate.median, report.champion.median
    return ours / served if ours and served else None


def _failed_share(
    report: TrialReport,
    bounds: Trial,
    *,
    passed: bool,
    explanation: str,
    advisory: bool = False,
    value: float | None = None,
) -> RuleResult:
    return RuleResult(
        id=RULE,
        passed=passed,
        value=report.candidate.failed_share if value is None else value,
        limit=_allowed_share(report, bounds),
        explanation=explanation,
        advisory=advisory,
    )
