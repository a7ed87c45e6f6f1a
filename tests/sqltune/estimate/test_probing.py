"""Which strategy a plan with `probe` trains with, and which are measured first."""

from __future__ import annotations

import pytest

from sqltune.config.plan import RunPlan
from sqltune.estimate.estimating import FASTEST_FIRST
from sqltune.estimate.model import Tokens
from sqltune.estimate.probing import choose, with_choice
from sqltune.node_contracts.preflight import PreflightResponse
from sqltune.records import checkups, runs, strategies
from sqltune.records.measured_strategy import MeasuredStrategy
from tests.host_facts import measured
from tests.plans import run_plan
from tests.sqltune.estimate.test_estimating import production
from tests.sqltune.estimate.test_memory import CODELLAMA

ROWS = Tokens(rows=100, total=11_900, longest=200, basis="counted")


def probing(plan: RunPlan) -> RunPlan:
    return plan.model_copy(update={"training": plan.training.model_copy(update={"probe": True})})


PLAN = probing(run_plan())
"""Its own strategy is zero3_offload."""


def known(**rates: float | None) -> list[MeasuredStrategy]:
    """Seconds an iteration by strategy; None is a failure."""
    return [
        MeasuredStrategy(strategy=name, seconds_per_iteration=seconds, error="" if seconds else "no memory")
        for name, seconds in rates.items()
    ]


@pytest.mark.parametrize(
    ("fitting", "rates", "measure", "strategy"),
    [
        (["zero2", "zero3"], {}, ["zero2", "zero3"], "zero2"),
        (["zero2", "zero3_offload"], {}, ["zero2", "zero3_offload"], "zero3_offload"),
        (["zero2", "zero3"], {"zero2": 1.0}, ["zero2", "zero3"], "zero2"),
        (["zero2", "zero3"], {"zero2": 2.0, "zero3": 1.0}, [], "zero3"),
        (["zero2", "zero3"], {"zero2": 2.0, "zero3": 3.0, "zero1": 1.0}, [], "zero2"),
        (["zero2", "zero1", "zero3"], {"zero1": None}, ["zero2", "zero3"], "zero2"),
        (["zero2", "zero3"], {"zero2": None}, [], "zero3"),
        (["zero2", "zero3"], {"zero2": None, "zero3": 1.0}, [], "zero3"),
        (
            ["zero2", "zero3_offload"],
            {"zero2": None, "zero3_offload": None},
            ["zero2", "zero3_offload"],
            "zero3_offload",
        ),
        (["zero2"], {}, [], "zero2"),
        ([], {}, [], "zero3_offload"),
    ],
    ids=[
        "nothing is known",
        "the plan's own is trained with where all fail",
        "one is missing: all are measured",
        "all are known",
        "one that does not fit is out",
        "one that failed is out",
        "all but one failed",
        "all are known, and one failed",
        "all failed, so that it was something else",
        "only one fits",
        "none fits",
    ],
)
def test_the_choice(fitting, rates, measure, strategy):
    chosen = with_choice(PLAN, fitting, known(**rates))
    assert (chosen.strategies, chosen.training.deepspeed) == (measure, strategy)


def test_a_plan_without_probe_stays_as_it_is(records):
    plan = run_plan()
    for one in known(zero2=1.0, zero3_offload=9.0):
        strategies.put(plan, one)
    assert choose(plan, ROWS)[0] == plan


def test_without_gpus_every_strategy_is_measured(records):
    assert choose(PLAN, ROWS)[0].strategies == list(FASTEST_FIRST)


def test_strategies_that_do_not_fit_the_cards_are_not_measured(records):
    runs.put_plan(production("p0"))
    checkups.put("p0", "rocm-0", PreflightResponse(facts=measured(architecture=CODELLAMA), checks=[]))
    plan, made = choose(probing(production(card=8.5)), ROWS)
    assert {*plan.strategies} == {m.strategy for m in made.memory if m.fits}
    assert 0 < len(plan.strategies) < len(FASTEST_FIRST)
    assert made.strategy == plan.training.deepspeed


def test_a_strategy_is_not_advised_where_the_fastest_is_used(records):
    for one in known(zero2=1.0, zero3_offload=9.0):
        strategies.put(PLAN, one)
    assert choose(PLAN, ROWS)[1].advice is None
    assert choose(run_plan(), ROWS)[1].advice.strategy == "zero2"
