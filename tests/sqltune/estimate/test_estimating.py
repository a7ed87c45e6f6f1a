"""The estimate of a plan, from the records and the lab's hub."""

from __future__ import annotations

import pytest

from sqltune.config.plan import RunPlan
from sqltune.errors import ConfigError
from sqltune.estimate import text
from sqltune.estimate.estimating import estimate, require_memory
from sqltune.estimate.model import Tokens
from sqltune.node_contracts.preflight import PreflightResponse
from sqltune.records import checkups, runs
from tests.host_facts import measured
from tests.plans import run_plan
from tests.sqltune.estimate.earlier import put_training
from tests.sqltune.estimate.test_memory import CODELLAMA

ROWS = Tokens(rows=20_000, total=10_000_000, longest=1000, basis="counted")


def production(
    run_id: str = "p1", *, card: float | None = None, recipe: dict | None = None, **training
) -> RunPlan:
    """The production recipe on eight cards; the hosts have shown the model's shape before."""
    plan = run_plan(run_id, recipe_file="codellama_7b_qlora", cluster_file="rocm_2x4")
    updated = {
        "training": plan.training.model_copy(update=training),
        "cluster": plan.cluster.model_copy(update={"gpu_memory_gib": card, "gpu_hour_price": 2.0}),
        "recipe": plan.recipe.model_copy(update=(recipe or {}) | {"base_model_repo": None}),
    }
    return plan.model_copy(update=updated)


@pytest.fixture
def seen(records) -> None:
    """Preflight has seen the hosts of an earlier run."""
    runs.put_plan(production("p0"))
    facts = measured(architecture=CODELLAMA, gpus=["AMD Instinct MI50, 16368 MiB"])
    for host in ("rocm-0", "rocm-1"):
        checkups.put("p0", host, PreflightResponse(facts=facts, checks=[]))


def test_production_recipe_has_iterations_of_packed_rows(seen):
    made = estimate(production(), ROWS)
    # 10,000,000 tokens are 4,882 rows of 2,048: 611 for each of eight ranks, three times.
    assert (made.iterations, made.optimizer_steps) == (1833, 114)


def test_time_around_the_iterations_is_as_uncertain_as_theirs(seen):
    made = estimate(production(), ROWS)
    assert made.seconds_low / made.seconds == pytest.approx(made.rate.low / made.rate.seconds)
    assert made.seconds_high / made.seconds == pytest.approx(made.rate.high / made.rate.seconds)


def test_hours_and_price_are_those_of_all_cards(seen):
    made = estimate(production(), ROWS)
    assert made.gpu_hours == pytest.approx(8 * made.seconds / 3600)
    assert made.price == pytest.approx(2 * made.gpu_hours)


def test_card_is_as_preflight_saw_it(seen):
    assert estimate(production(), ROWS).gpu_memory == pytest.approx(15.98, abs=0.01)


def test_cluster_file_wins_over_what_was_seen(seen):
    assert estimate(production(card=24), ROWS).gpu_memory == 24


def test_offload_on_cards_that_need_none_is_advised_against_with_factor_and_source(seen):
    made = estimate(production(), ROWS)
    assert (made.advice.strategy, made.advice.low, made.advice.high) == ("zero2", 4.8, 15.8)
    assert text.advice(made).startswith("zero3_offload is 4.8 to 15.8 times slower than zero2, which fits (")
    assert "github.com/deepspeedai/DeepSpeed/issues/3901" in text.advice(made)


def test_a_strategy_that_was_faster_here_is_advised_with_what_was_measured(seen):
    put_training(production("m1"), seconds_per_step=30)
    put_training(production("m2", deepspeed="zero3"), seconds_per_step=10)
    advice = estimate(production(), ROWS).advice
    assert (advice.strategy, advice.low, advice.measured) == ("zero3", 3, True)


def test_published_advice_is_not_given_against_what_was_measured(seen):
    put_training(production("m1"), seconds_per_step=10)
    put_training(production("m2", deepspeed="zero2"), seconds_per_step=11)
    assert estimate(production(), ROWS).advice is None


def test_the_fastest_strategy_has_no_advice(seen):
    assert estimate(production(deepspeed="zero2"), ROWS).advice is None


def test_a_plan_that_fits_is_let_through(seen):
    require_memory(estimate(production(card=16), ROWS))


def test_a_plan_that_cannot_fit_is_refused_with_the_strategy_that_would(seen):
    plan = production(card=12, deepspeed="zero1", recipe={"xtuner_config": "lab_lora.py"})
    made = estimate(
        plan.model_copy(update={"training": plan.training.model_copy(update={"max_length": 64})}), ROWS
    )
    with pytest.raises(
        ConfigError, match=r"deepspeed: zero1 needs about .* cluster's have 12.0 GiB: set .*zero3 \("
    ):
        require_memory(made)


def test_a_plan_that_nothing_fits_says_so(seen):
    plan = production(card=1)
    with pytest.raises(ConfigError, match="no strategy fits: lower max_length"):
        require_memory(estimate(plan, ROWS))


def test_without_a_card_nothing_is_refused(records):
    made = estimate(production(), ROWS)
    assert (made.gpu_memory, made.memory) == (None, [])
    require_memory(made)


def test_the_hub_shows_the_shape_of_a_model_that_no_host_has_shown(records, hub):
    plan = run_plan("p1", recipe_file="lab_smollm2")
    cluster = plan.cluster.model_copy(update={"hub_endpoint": hub, "accelerator": "cuda"})
    named = plan.model_copy(update={"cluster": cluster, "base_model": plan.recipe.base_model})
    assert len(estimate(named, ROWS).memory) == 5
    assert estimate(named, ROWS, ask_hub=False).memory == []


def test_a_cluster_without_gpus_has_neither_memory_nor_gpu_hours(records):
    put_training(run_plan("r1"))
    made = estimate(run_plan("r2"), ROWS)
    assert made.seconds
    assert (made.memory, made.gpu_hours, made.price) == ([], None, None)


def test_lines_for_the_log_say_rows_steps_time_memory_and_advice(seen):
    lines = list(text.lines(estimate(production(card=16), ROWS)))
    assert lines[0] == "rows: 20,000 with 10,000,000 tokens (counted), the longest has 1,000"
    assert lines[1] == "1,833 iterations, 114 optimizer steps, 2,048 tokens each on one rank"
    assert "GPU-hours" in lines[2]
    assert sum("memory on a GPU" in line for line in lines) == 5
    assert sum("(this plan's)" in line for line in lines) == 1


def test_lines_of_an_unknown_training_say_that_it_is_unknown(records):
    assert list(text.lines(estimate(production(), None))) == ["time: not known before a run was made here"]
