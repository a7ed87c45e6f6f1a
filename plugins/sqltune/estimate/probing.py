"""Which DeepSpeed strategy a plan with `probe` trains with: the fastest that fits, once all are measured."""

from __future__ import annotations

from collections.abc import Sequence

from sqltune.config.plan import RunPlan
from sqltune.config.recipe import DeepSpeed
from sqltune.estimate.estimating import FASTEST_FIRST, estimate
from sqltune.estimate.model import Estimate, StrategyMemory, Tokens
from sqltune.records.measured_strategy import MeasuredStrategy, fastest
from sqltune.records.strategies import measured


def choose(plan: RunPlan, tokens: Tokens | None, *, ask_hub: bool = True) -> tuple[RunPlan, Estimate]:
    """Return a plan with its strategy chosen, or with those to be measured first; and its estimate.

    Args:
        plan: The plan; it stays as it is where it has no `probe`.
        tokens: Its rows in tokens, where they are known.
        ask_hub: Whether the hub may be asked for the shape of a base model that no host has shown yet.
    """
    made = estimate(plan, tokens, ask_hub=ask_hub)
    if not plan.training.probe:
        return plan, made
    chosen = with_choice(plan, _fitting(made.memory), measured(plan))
    if chosen.training == plan.training:
        return chosen, made
    return chosen, estimate(chosen, tokens, ask_hub=ask_hub)


def with_choice(plan: RunPlan, fitting: Sequence[DeepSpeed], known: Sequence[MeasuredStrategy]) -> RunPlan:
    """Return a plan with the fastest strategy, or with those to be measured where one is not known yet.

    All are measured then, to be compared under the same conditions; those that have failed are left out,
    unless all have. The plan's own strategy, or one that fits in its place, is the one to train with where
    all fail.

    Args:
        plan: The plan.
        fitting: Strategies that fit the cluster's GPUs, the first to be tried first.
        known: What was measured before.
    """
    own = plan.training.deepspeed
    fallback = own if own in fitting or not fitting else fitting[0]
    rates = {m.strategy: m for m in known if m.strategy in fitting}
    if rates.keys() >= {*fitting} and all(rate.error for rate in rates.values()):
        # What failed in all of them was not the strategies.
        rates = {}
    usable = [s for s in fitting if s not in rates or not rates[s].error]
    if len(usable) > 1 and not rates.keys() >= {*fitting}:
        return plan.model_copy(update={"strategies": usable}).with_strategy(fallback)
    unmeasured = usable[0] if usable else fallback
    return plan.with_strategy(fastest(rates.values()) or unmeasured)


def _fitting(needed: Sequence[StrategyMemory]) -> list[DeepSpeed]:
    """The strategies that fit; all where it is not known, as on a cluster without GPUs."""
    too_large = {m.strategy for m in needed if m.fits is False}
    return [strategy for strategy in FASTEST_FIRST if strategy not in too_large]
