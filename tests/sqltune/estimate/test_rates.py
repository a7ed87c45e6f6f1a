"""Seconds an iteration, from earlier runs or published figures."""

from __future__ import annotations

import pytest

from sqltune.config.plan import RunPlan
from sqltune.estimate.model import Rate
from sqltune.estimate.published import published
from sqltune.estimate.rates import UNKNOWN_OVERHEAD, measured_slowdown, rate
from sqltune.records import strategies, trainings
from sqltune.records.measured_strategy import MeasuredStrategy
from tests.plans import run_plan
from tests.sqltune.estimate.earlier import put_training


def changed(run_id: str = "next", **training: object) -> RunPlan:
    plan = run_plan(run_id)
    return plan.model_copy(update={"training": plan.training.model_copy(update=training)})


def estimated(plan: RunPlan, tokens: int | None = 500, parameters: float | None = 135e6) -> Rate | None:
    return rate(plan, trainings.measured(plan.cluster_name), tokens, parameters)


def test_an_earlier_run_with_the_same_settings_decides(records):
    put_training(run_plan("r1"), seconds_per_step=5)
    found = estimated(changed())
    assert (found.basis, found.runs, found.seconds) == ("recipe", 1, 5)


def test_a_run_of_as_many_iterations_is_estimated_as_it_was(records):
    """The slow first iterations are part of the time around."""
    put_training(run_plan("r1"), seconds_per_step=5, warm_up=25, steps=10, around=40)
    found = estimated(changed())
    assert found.overhead + 10 * found.seconds == pytest.approx(40 + 50 + 8 * 5)


def test_of_several_runs_the_middle_one_counts(records):
    for number, seconds in enumerate([4, 5, 9]):
        put_training(run_plan(f"r{number}"), seconds_per_step=seconds)
    found = estimated(changed())
    assert (found.seconds, found.runs) == (5, 3)
    assert found.low <= 4
    assert found.high >= 9


def test_a_run_of_one_line_in_the_log_is_still_a_measurement(records):
    put_training(run_plan("r1"), warm_up=7, steps=2)
    assert estimated(changed()).seconds == 7


def test_an_attempt_that_went_on_from_a_checkpoint_says_nothing_of_the_time_around(records):
    put_training(run_plan("r1"), resumed=True)
    assert estimated(changed()).overhead == UNKNOWN_OVERHEAD


@pytest.mark.parametrize("setting", [{"max_length": 512}, {"batch_size": 3}])
def test_runs_with_other_settings_count_by_their_tokens_a_second(records, setting):
    put_training(run_plan("r1"), tokens_per_second=100)
    found = estimated(changed(**setting))
    assert (found.basis, found.seconds) == ("cluster", 5)


def test_learning_rate_and_steps_do_not_change_the_speed(records):
    put_training(run_plan("r1"))
    assert estimated(changed(learning_rate=1e-4, max_steps=100)).basis == "recipe"


def test_runs_with_another_strategy_say_nothing(records):
    put_training(run_plan("r1"), tokens_per_second=100)
    assert estimated(changed(deepspeed="zero2")).basis == "published"


def test_without_runs_published_figures_count(records):
    found = estimated(changed(), tokens=1100)
    # The lab's own figure, 110 tokens a second under this strategy: no slowdown on top.
    assert (found.basis, found.seconds) == ("published", pytest.approx(10))
    assert found.sources == ["docs/benchmarks.md"]


def test_offload_makes_published_rates_slower(records):
    plan = run_plan("p1", recipe_file="codellama_7b_qlora", cluster_file="rocm_2x4")
    found = estimated(plan, tokens=2340, parameters=7.72e9)
    assert found.low == pytest.approx(4.8 / 2)
    assert found.high == pytest.approx(15.8 * 2)
    assert "https://github.com/deepspeedai/DeepSpeed/issues/6695" in found.sources


def test_a_larger_model_is_slower_by_its_size(records):
    plan = changed(deepspeed="zero2")
    assert estimated(plan, parameters=270e6).seconds == pytest.approx(2 * estimated(plan).seconds)


def test_nothing_is_known_of_unknown_tokens(records):
    assert estimated(changed(), tokens=None) is None


def test_the_slowdown_of_two_strategies_is_measured_where_both_were_run(records):
    put_training(changed("r1"), seconds_per_step=12)
    put_training(changed("r2", deepspeed="zero2"), seconds_per_step=3)
    earlier = trainings.measured("lab")
    assert measured_slowdown(changed(), earlier, "zero2") == 4
    assert measured_slowdown(changed(), earlier, "zero3") is None


def test_a_run_of_another_cluster_does_not_count(records):
    put_training(run_plan("r1"))
    assert trainings.measured("gpu_2x4") == []


def test_every_published_figure_has_a_source():
    figures = published()
    assert all(f.source for f in [*figures.rates, *figures.slowdowns])


def test_published_offload_is_4_8_to_15_8_times_slower():
    assert published().slowdown("zero3_offload")[:2] == (4.8, 15.8)


def test_a_strategy_without_figures_is_as_fast_as_any():
    assert published().slowdown("zero2") == (1.0, 1.0, [])


def probed(strategy: str, seconds: float | None, **training: object) -> None:
    """Record that a run measured a strategy."""
    measured = MeasuredStrategy(strategy=strategy, seconds_per_iteration=seconds)
    strategies.put(changed("p1", **training), measured)


def test_without_a_run_what_was_probed_counts(records):
    probed("zero2", 0.5)
    plan = changed(deepspeed="zero2")
    found = rate(plan, [], 500, 135e6, strategies.measured(plan))
    assert (found.basis, found.seconds, found.runs) == ("probe", 0.5, 0)


def test_a_whole_run_counts_more_than_what_was_probed(records):
    probed("zero3_offload", 0.5)
    put_training(run_plan("r1"), seconds_per_step=5)
    plan = changed()
    found = rate(plan, trainings.measured("lab"), 500, 135e6, strategies.measured(plan))
    assert (found.basis, found.seconds) == ("recipe", 5)


def test_the_slowdown_is_known_where_the_other_strategy_was_only_probed(records):
    put_training(changed("r1"), seconds_per_step=12)
    probed("zero2", 3.0)
    plan = changed()
    known = strategies.measured(plan)
    assert measured_slowdown(plan, trainings.measured("lab"), "zero2", known) == 4
    assert measured_slowdown(plan, trainings.measured("lab"), "zero3", known) is None


def test_a_run_counts_for_the_strategy_that_it_really_used(records):
    put_training(changed("r1"), strategy="zero1")
    assert estimated(changed(deepspeed="zero1")).basis == "recipe"
    assert estimated(changed()).basis == "published"
