"""Fewer points of a series, without losing a spike."""

from __future__ import annotations

import math

import pytest

from sqltune.ui.downsampling import min_max


def series(length: int) -> list[float | None]:
    return [math.sin(i / 50) for i in range(length)]


def test_a_short_series_stays_whole():
    assert min_max(series(100), 100) == list(range(100))


@pytest.mark.parametrize("length", [101, 999, 50_000])
def test_no_more_points_are_left_than_asked_for(length):
    assert len(min_max(series(length), 100)) <= 100


@pytest.mark.parametrize("spike", [1, 17_003, 49_998])
@pytest.mark.parametrize("height", [9.0, -9.0])
def test_a_single_spike_among_50_000_points_is_kept(spike, height):
    values = series(50_000)
    values[spike] = height
    assert spike in min_max(values, 300)


def test_both_ends_are_kept():
    chosen = min_max(series(50_000), 300)
    assert (chosen[0], chosen[-1]) == (0, 49_999)


def test_a_single_missing_value_is_kept():
    values = series(50_000)
    values[31_234] = None
    assert 31_234 in min_max(values, 300)


def test_a_series_without_any_value_is_kept_as_such():
    assert min_max([None] * 1000, 100)[0] == 0
