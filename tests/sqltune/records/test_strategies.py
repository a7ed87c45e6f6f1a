"""How fast each strategy was, on each engine."""

from __future__ import annotations

from datetime import timedelta

import pytest

from sqltune.records import strategies
from sqltune.records.measured_strategy import MeasuredStrategy, fastest
from sqltune.records.strategies import FAILURES_COUNT_FOR, measured
from sqltune.records.types import now
from tests.plans import run_plan

pytestmark = pytest.mark.usefixtures("engine")

FAST = MeasuredStrategy(strategy="zero2", seconds_per_iteration=0.5)
SLOW = MeasuredStrategy(strategy="zero3", seconds_per_iteration=2.0)
FAILED = MeasuredStrategy(strategy="zero1", seconds_per_iteration=None, error="CUDA out of memory")


def changed(**training: object):
    plan = run_plan()
    return plan.model_copy(update={"training": plan.training.model_copy(update=training)})


def test_what_was_measured_is_found_by_any_plan_with_these_settings():
    for one in (FAST, SLOW, FAILED):
        strategies.put(run_plan(), one)
    plan = changed(learning_rate=1e-4, seed=1, deepspeed="zero1", max_steps=9)
    assert measured(plan) == [FAILED, FAST, SLOW]


def test_the_newest_measurement_takes_the_place_of_the_one_before():
    strategies.put(run_plan("r1"), FAST)
    strategies.put(run_plan("r2"), FAST.model_copy(update={"seconds_per_iteration": 0.7}))
    assert [one.seconds_per_iteration for one in measured(run_plan())] == [0.7]


@pytest.mark.parametrize(
    "training", [{"max_length": 512}, {"batch_size": 3}, {"accumulative_counts": 4}, {"lora_rank": 64}]
)
def test_other_settings_are_not_measured(training):
    strategies.put(run_plan(), FAST)
    assert measured(changed(**training)) == []


@pytest.mark.parametrize(
    "other", [{"cluster_name": "gpu"}, {"recipe_name": "other"}, {"base_model": "~/models/other"}]
)
def test_another_cluster_recipe_or_model_is_not_measured(other):
    strategies.put(run_plan(), FAST)
    assert measured(run_plan().model_copy(update=other)) == []


def test_other_hosts_are_not_measured():
    plan = run_plan()
    strategies.put(plan, FAST)
    hosts = [host.model_copy(update={"processes": 2}) for host in plan.cluster.hosts]
    cluster = plan.cluster.model_copy(update={"hosts": hosts})
    assert measured(plan.model_copy(update={"cluster": cluster})) == []


def test_a_failure_of_long_ago_is_forgotten_and_a_rate_is_not(monkeypatch):
    strategies.put(run_plan(), FAILED)
    strategies.put(run_plan(), FAST)
    later = now() + FAILURES_COUNT_FOR + timedelta(seconds=1)
    monkeypatch.setattr(strategies, "now", lambda: later)
    assert measured(run_plan()) == [FAST]


def test_the_fastest_is_the_one_with_the_fewest_seconds():
    assert fastest([SLOW, FAILED, FAST]) == "zero2"


@pytest.mark.parametrize("none", [[], [FAILED]])
def test_where_none_was_measured_none_is_the_fastest(none):
    assert fastest(none) is None
