"""The verdict: is the new model let through?

Both models answered the same questions, so the answers are compared in pairs: what counts are the questions that one has right and the other wrong.
"""

from __future__ import annotations

import math
from functools import lru_cache

from pydantic import BaseModel, Field

from sqltune.config.gate_rules import GateRules
from sqltune.errors import ScoringError
from sqltune.evaluation.scoring import Score, Scored


class Paired(BaseModel):
    """The difference between two models that answered the same questions."""

    questions: int
    gained: int = Field(description="Right now and wrong before.")
    lost: int = Field(description="Wrong now and right before.")
    difference: float = Field(description="Share of right answers now minus before.")
    low: float = Field(description="Lower end of the difference's confidence interval.")
    high: float = Field(description="Upper end.")
    p_value: float = Field(
        description="McNemar's exact test, two-sided: how often two equally good models differ as much."
    )


class Rule(BaseModel):
    """One rule, what it found, and what it wants."""

    name: str
    passed: bool
    found: str


class Flip(BaseModel):
    """A question whose answer turned from wrong to right, or the other way round."""

    id: str
    before: str = Field(description="Verdict and reason.")
    after: str


class Decision(BaseModel):
    """All rules, and what follows from them."""

    passed: bool
    rules: list[Rule]
    paired: Paired
    gained: list[Flip] = Field(description="Right now and wrong before.")
    lost: list[Flip] = Field(description="Wrong now and right before.")

    def __str__(self) -> str:
        heading = "let through" if self.passed else "held back"
        lines = [
            f"verdict: {heading}",
            *(f"  {'ok ' if r.passed else 'NO '} {r.name}: {r.found}" for r in self.rules),
        ]
        for name, flips in (("gained", self.gained), ("lost", self.lost)):
            lines += [f"{name} {f.id}: {f.before} → {f.after}" for f in flips]
        return "\n".join(lines)


@lru_cache(maxsize=4096)
def interval(questions: int, gained: int, lost: int, confidence: float) -> tuple[float, float]:
    """Score interval of a difference between paired proportions (Tango, Statistics in Medicine 17, 1998, 891–908).

    Its ends are the differences that the score test just does not reject. Unlike Wald's, it holds its level where few answers differ, down to none.
    """
    # scipy takes a second to import: only who judges waits for it.
    from scipy.optimize import brentq
    from scipy.stats import norm

    z = float(norm.ppf((1 + confidence) / 2))
    n, b, c = questions, gained, lost

    def statistic(delta: float) -> float:
        # The most likely share of lost answers if the difference were delta.
        half = -b - c + (2 * n - b + c) * delta
        share = (math.sqrt(max(half**2 - 8 * n * -c * delta * (1 - delta), 0.0)) - half) / (4 * n)
        variance = n * (2 * share + delta * (1 - delta))
        numerator = b - c - n * delta
        return (
            numerator / math.sqrt(variance)
            if variance > 1e-12
            else math.copysign(math.inf, numerator)
            if numerator
            else 0.0
        )

    at = (b - c) / n
    edge = 1e-9

    def end(outer: float, sign: int) -> float:
        if abs(at - outer) < edge or sign * statistic(outer) < z:
            return outer
        return float(brentq(lambda d: sign * statistic(d) - z, outer, at, xtol=1e-10))

    return end(-1 + edge, 1), end(1 - edge, -1)


def compare(questions: int, gained: int, lost: int, confidence: float = 0.95) -> Paired:
    """The difference of two paired shares, how sure it is, and how likely by chance alone."""
    from scipy.stats import binomtest

    low, high = interval(questions, gained, lost, confidence) if questions else (-1.0, 1.0)
    p_value = float(binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0
    return Paired(
        questions=questions,
        gained=gained,
        lost=lost,
        difference=(gained - lost) / questions if questions else 0.0,
        low=low,
        high=high,
        p_value=p_value,
    )


def decide(before: Score, after: Score, limits: GateRules) -> Decision:
    """Every rule of the gate, each with what it found; `ScoringError` when the two were not asked the same questions."""
    asked_before, asked_after = ([s.id for s in score.scored] for score in (before, after))
    if sorted(asked_before) != sorted(asked_after):
        raise ScoringError(
            f"before has {len(asked_before)} questions and after {len(asked_after)}, or they are not the same: run both again"
        )
    was, now = ({s.id: s for s in score.judged} for score in (before, after))
    pairs = [(was[i], now[i]) for i in was if i in now]
    gained = [(b, a) for b, a in pairs if a.right and not b.right]
    lost = [(b, a) for b, a in pairs if b.right and not a.right]
    paired = compare(len(pairs), len(gained), len(lost), limits.confidence)
    all_before, all_after = ({s.id: s for s in score.scored} for score in (before, after))
    guarded = [i for i, s in all_before.items() if s.must_not_break]
    broken = [i for i in guarded if all_before[i].right and not all_after[i].right]
    proven = sum(not a.vacuous for _, a in gained) - sum(not b.vacuous for b, _ in lost)
    n = max(1, after.questions)
    vacuous = after.vacuous / max(1, after.matched)
    rules = [
        Rule(
            name="enough questions",
            passed=paired.questions >= limits.min_questions,
            found=f"{paired.questions} judged, at least {limits.min_questions} wanted",
        ),
        Rule(
            name="answers more",
            passed=paired.difference >= limits.min_gain - 1e-12,
            found=f"{before.matched} → {after.matched} of {after.questions}: {100 * paired.difference:+.1f} points ({len(gained)} gained, {len(lost)} lost), at least {100 * limits.min_gain:+.1f} wanted",
        ),
        Rule(
            name="not worse, chance allowed for",
            passed=paired.low > -limits.margin,
            found=f"the true difference lies between {100 * paired.low:+.1f} and {100 * paired.high:+.1f} points ({limits.confidence:.0%} interval, McNemar's exact p = {paired.p_value:.2g}); more than {-100 * limits.margin:+.1f} wanted",
        ),
        Rule(
            name="gains by rows, not by empty results",
            passed=proven >= limits.min_gain * paired.questions - 1e-9,
            found=f"{proven:+d} questions without the pairs of two empty results, {len(gained) - len(lost):+d} with them",
        ),
        Rule(
            name="nothing guarded is broken",
            passed=not broken,
            found=f"broken: {', '.join(broken)}"
            if broken
            else f"{sum(all_after[i].right for i in guarded)} of {len(guarded)} right, {sum(all_before[i].right for i in guarded)} before",
        ),
        Rule(
            name="good enough at all",
            passed=after.accuracy >= limits.floor,
            found=f"{after.accuracy:.1%} right, at least {limits.floor:.1%} wanted",
        ),
        Rule(
            name="SQL that runs",
            passed=after.invalid / n <= limits.max_invalid,
            found=f"{after.invalid / n:.1%} do not run, at most {limits.max_invalid:.1%} allowed ({before.invalid / max(1, before.questions):.1%} before)",
        ),
        Rule(
            name="results that prove something",
            passed=vacuous <= limits.max_vacuous,
            found=f"{vacuous:.1%} of the right answers are of two empty results, at most {limits.max_vacuous:.1%} allowed",
        ),
    ]
    return Decision(
        passed=all(r.passed for r in rules),
        rules=rules,
        paired=paired,
        gained=[_flip(b, a) for b, a in gained],
        lost=[_flip(b, a) for b, a in lost],
    )


def _flip(before: Scored, after: Scored) -> Flip:
    words = [f"{s.verdict}{f' ({s.reason})' if s.reason else ''}" for s in (before, after)]
    return Flip(id=before.id, before=words[0], after=words[1])
