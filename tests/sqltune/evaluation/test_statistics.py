"""The interval and the test behind the gate, checked against their definitions."""

from __future__ import annotations

import math

import pytest
from scipy.optimize import minimize_scalar
from scipy.stats import norm

from sqltune.evaluation.statistics import compare, interval, mcnemar, wilson


def score_statistic_by_maximisation(n: int, gained: int, lost: int, difference: float) -> float:
    """The absolute score statistic, its variance from a likelihood that is maximised numerically."""

    def unlikely(share: float) -> float:
        cells = ((gained, share + difference), (lost, share), (n - gained - lost, 1 - 2 * share - difference))
        return -sum(times * math.log(max(probability, 1e-300)) for times, probability in cells if times)

    bounds = (max(0, -difference), (1 - difference) / 2)
    share = minimize_scalar(unlikely, bounds=bounds, method="bounded", options={"xatol": 1e-12}).x
    variance = n * (2 * share + difference * (1 - difference))
    return abs(gained - lost - n * difference) / math.sqrt(variance)


@pytest.mark.parametrize(
    ("n", "gained", "lost", "confidence"),
    [(100, 10, 4, 0.95), (1034, 150, 59, 0.95), (50, 0, 5, 0.9), (200, 3, 3, 0.99), (80, 12, 0, 0.95)],
)
def test_interval_ends_where_the_score_test_just_rejects(n, gained, lost, confidence):
    quantile = norm.ppf((1 + confidence) / 2)
    for end in interval(n, gained, lost, confidence):
        assert score_statistic_by_maximisation(n, gained, lost, end) == pytest.approx(quantile, rel=2e-3)


def test_interval_is_symmetric_in_the_two_models():
    low, high = interval(100, 12, 5, 0.95)
    assert interval(100, 5, 12, 0.95) == pytest.approx((-high, -low))


def test_interval_contains_the_observed_difference():
    low, high = interval(100, 12, 5, 0.95)
    assert low < 0.07 < high


def test_interval_shrinks_with_more_questions():
    assert interval(1000, 120, 50, 0.95)[0] > interval(100, 12, 5, 0.95)[0]


def test_interval_exists_without_a_discordant_pair():
    low, high = interval(100, 0, 0, 0.95)
    assert -0.05 < low < 0
    assert 0 < high < 0.05


def test_mcnemar_is_twice_the_binomial_tail():
    # Ten against two: 2 * (1 + 12 + 66) / 4096.
    assert mcnemar(10, 2) == pytest.approx(2 * 79 / 4096)


def test_mcnemar_without_discordant_pairs_is_one():
    assert mcnemar(0, 0) == 1


def test_compare_without_questions_knows_nothing():
    paired = compare(0, 0, 0)
    assert (paired.low, paired.high) == (-1, 1)
    assert paired.difference == 0
    assert paired.p_value == 1


def test_compare_collects_difference_interval_and_p_value():
    paired = compare(100, 10, 2)
    assert paired.difference == pytest.approx(0.08)
    assert (paired.low, paired.high) == interval(100, 10, 2, 0.95)
    assert paired.p_value == mcnemar(10, 2)


@pytest.mark.parametrize(
    ("matched", "questions", "low", "high"),
    # statsmodels.stats.proportion.proportion_confint(method="wilson"), rounded.
    [(0, 10, 0.0, 0.2775), (5, 10, 0.2366, 0.7634), (10, 10, 0.7225, 1.0), (73, 100, 0.6357, 0.8073)],
)
def test_wilsons_interval_is_that_of_statsmodels(matched, questions, low, high):
    assert wilson(matched, questions) == pytest.approx((low, high), abs=5e-5)


def test_without_questions_a_share_may_be_anything():
    assert wilson(0, 0) == (0.0, 1.0)
