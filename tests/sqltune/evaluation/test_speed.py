"""How fast a model answered: percentiles, rates, and which of several tries counts."""

from __future__ import annotations

import pytest

from sqltune.evaluation.speed import measured, of_most_answers, percentile


@pytest.mark.parametrize(
    ("count", "percent", "expected"),
    [(1, 95, 1), (1, 50, 1), (2, 50, 1), (3, 50, 2), (19, 95, 19), (20, 95, 19), (21, 95, 20), (100, 95, 95)],
)
def test_percentile_is_the_smallest_value_that_so_many_do_not_exceed(count, percent, expected):
    assert percentile([float(value) for value in range(count, 0, -1)], percent) == expected


def test_speed_of_a_try():
    speed = measured([1.0, 3.0, 2.0, 9.0], 8.0, tokens=40)
    assert (speed.answers, speed.p50, speed.p95) == (4, 2.0, 9.0)
    assert (speed.answers_per_second, speed.tokens_per_second) == (0.5, 5.0)


def test_try_that_generated_nothing_has_no_speed():
    assert measured([], 1.0, tokens=None) is None


def test_tokens_a_second_are_not_known_where_they_are_not_counted():
    assert measured([1.0], 1.0, tokens=None).tokens_per_second is None


@pytest.mark.parametrize(
    ("tokens", "text"),
    [
        (30, "2 answers in 4.0 s: 0.50 answers a second (8 tokens), latency 1.00 s (p50), 3.00 s (p95)"),
        (None, "2 answers in 4.0 s: 0.50 answers a second, latency 1.00 s (p50), 3.00 s (p95)"),
    ],
)
def test_speed_as_text(tokens, text):
    assert str(measured([1.0, 3.0], 4.0, tokens)) == text


ONE, TWO, OTHER_TWO = (measured(latencies, 9.0, None) for latencies in ([1.0], [1.0, 2.0], [5.0, 6.0]))


@pytest.mark.parametrize(
    ("earlier", "newer", "kept"),
    [
        (None, None, None),
        (None, ONE, ONE),
        (ONE, None, ONE),
        (TWO, ONE, TWO),
        (ONE, TWO, TWO),
        (TWO, OTHER_TWO, OTHER_TWO),
    ],
)
def test_speed_over_more_answers_is_kept(earlier, newer, kept):
    assert of_most_answers(earlier, newer) == kept
