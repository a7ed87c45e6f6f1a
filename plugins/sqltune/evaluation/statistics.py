"""Paired statistics: how sure is the difference between two models that answered the same questions?

Both models answer every question, so the answers are compared in pairs. Only discordant pairs, the questions
that exactly one model answers correctly, carry information about the difference. How often the rules that
build on these figures pass a model that is truly better or worse is simulated by `bench/gate.py`; the table
is in docs/verdict.md.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

from pydantic import Field

from ssh_gang.model import Model

_EDGE = 1e-9
"""Distance kept from differences of exactly -1 and 1, where the score statistic is not defined."""
_NO_VARIANCE = 1e-12
"""A variance below this is zero except for rounding."""
_PRECISION = 1e-10
"""To which an end of the interval is computed."""


class PairedComparison(Model):
    """The difference between two models that answered the same questions."""

    questions: int = Field(ge=0, description="Questions that both models answered.")
    gained: int = Field(ge=0, description="Correct after, wrong before.")
    lost: int = Field(ge=0, description="Correct before, wrong after.")
    difference: float = Field(description="Share of correct answers, after minus before.")
    low: float = Field(description="Lower end of the difference's confidence interval.")
    high: float = Field(description="Upper end of it.")
    p_value: float = Field(
        description="McNemar's exact test, two-sided: how often two equally good models differ at least "
        "as much."
    )


def compare(questions: int, gained: int, lost: int, confidence: float = 0.95) -> PairedComparison:
    """Compare two models by their discordant pairs.

    Args:
        questions: number of questions both models answered.
        gained: questions that only the new model answers correctly.
        lost: questions that only the old model answers correctly.
        confidence: level of the interval, between 0 and 1.
    """
    low, high = interval(questions, gained, lost, confidence) if questions else (-1.0, 1.0)
    return PairedComparison(
        questions=questions,
        gained=gained,
        lost=lost,
        difference=(gained - lost) / questions if questions else 0.0,
        low=low,
        high=high,
        p_value=mcnemar(gained, lost),
    )


def mcnemar(gained: int, lost: int) -> float:
    """Return the two-sided p-value of McNemar's exact test (Psychometrika 12, 1947, 153-157).

    If the models are equally good, each discordant pair is a fair coin: `gained` is binomial with one half.
    The exact form holds for few discordant pairs too, where the chi-squared approximation does not.
    """
    # scipy takes a second to import: only the gate pays for it.
    from scipy.stats import binomtest

    return float(binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0


@lru_cache(maxsize=4096)
def interval(questions: int, gained: int, lost: int, confidence: float) -> tuple[float, float]:
    """Return the score interval of a difference between paired proportions.

    Source: Tango, Statistics in Medicine 17, 1998, 891-908. Its ends are the differences that the score test
    just does not reject. Unlike Wald's interval it keeps its level where few answers differ, or none.

    Args:
        questions: number of pairs, at least one.
        gained: discordant pairs in favour of the new model.
        lost: discordant pairs in favour of the old model.
        confidence: level of the interval, between 0 and 1.
    """
    # scipy takes a second to import: only the gate pays for it.
    from scipy.stats import norm

    quantile = float(norm.ppf((1 + confidence) / 2))
    observed = (gained - lost) / questions

    def statistic(difference: float) -> float:
        return score_statistic(questions, gained, lost, difference)

    return (
        _end(statistic, observed, -1 + _EDGE, quantile),
        _end(lambda difference: -statistic(difference), observed, 1 - _EDGE, quantile),
    )


def _end(statistic: Callable[[float], float], observed: float, outermost: float, quantile: float) -> float:
    """Return the difference between `observed` and `outermost` at which the statistic is the quantile."""
    from scipy.optimize import brentq

    if abs(observed - outermost) < _EDGE or statistic(outermost) < quantile:
        return outermost
    return float(brentq(lambda d: statistic(d) - quantile, outermost, observed, xtol=_PRECISION))


def score_statistic(questions: int, gained: int, lost: int, difference: float) -> float:
    """Return Tango's score statistic for the hypothesis that the true difference is `difference`."""
    variance = questions * (
        2 * _share_lost(questions, gained, lost, difference) + difference * (1 - difference)
    )
    distance = gained - lost - questions * difference
    if variance > _NO_VARIANCE:
        return distance / math.sqrt(variance)
    return math.copysign(math.inf, distance) if distance else 0.0


def _share_lost(questions: int, gained: int, lost: int, difference: float) -> float:
    """Return the maximum likelihood estimate of the share of lost answers, given the true difference.

    It is the larger root of 2n x² + b x - lost * difference * (1 - difference) = 0.
    """
    linear = -gained - lost + (2 * questions - gained + lost) * difference
    discriminant = linear**2 + 8 * questions * lost * difference * (1 - difference)
    return (math.sqrt(max(discriminant, 0.0)) - linear) / (4 * questions)


def wilson(matched: int, questions: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return the score interval of a share (Wilson, JASA 22, 1927, 209-212).

    Unlike the interval of the normal approximation it stays within 0 and 1, and keeps its level for few
    questions.

    Args:
        matched: number of correct answers.
        questions: number of questions; without any, the share may be anything.
        confidence: level of the interval, between 0 and 1.
    """
    from statistics import NormalDist

    if not questions:
        return 0.0, 1.0
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share, weight = matched / questions, z * z / questions
    middle = share + weight / 2
    spread = z * math.sqrt(share * (1 - share) / questions + weight / (4 * questions))
    return max(0.0, (middle - spread) / (1 + weight)), min(1.0, (middle + spread) / (1 + weight))
