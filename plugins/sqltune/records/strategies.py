"""How fast each DeepSpeed strategy was on a cluster: measured in a few iterations, before a training."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from pydantic import Field
from sqlalchemy import select

from sqltune.config.plan import RunPlan
from sqltune.config.recipe import DeepSpeed
from sqltune.records import database
from sqltune.records.estimate_tables import StrategyRate
from sqltune.records.types import now
from ssh_gang.model import Model

FAILURES_COUNT_FOR = timedelta(days=30)
"""After which a strategy that failed is tried again: what it lacked may have been installed meanwhile."""
_SETTINGS = ("max_length", "batch_size", "accumulative_counts", "lora_rank")
_KEYS = ["cluster", "recipe", "xtuner_config", "base_model", "hosts", *_SETTINGS, "strategy"]


class MeasuredStrategy(Model):
    """How fast a strategy was, or why it failed."""

    strategy: DeepSpeed
    seconds_per_iteration: float | None = Field(description="Null where it failed.")
    error: str = Field("", description="Why it failed; empty otherwise.")

    def __str__(self) -> str:
        if self.seconds_per_iteration is None:
            return f"{self.strategy} failed ({self.error})"
        return f"{self.strategy} {self.seconds_per_iteration:.3f} s"


def put(plan: RunPlan, measured: MeasuredStrategy) -> None:
    """Record what a run measured with its plan's settings, in place of what was known before."""
    row = _key_of(plan) | measured.model_dump() | {"run_id": plan.run_id, "at": now()}
    with database.writing() as session:
        database.upsert(session, StrategyRate, [row], keys=_KEYS)


def measured(plan: RunPlan) -> list[MeasuredStrategy]:
    """Return what was measured on the plan's cluster with its settings, whatever its own strategy is.

    A failure of long ago (`FAILURES_COUNT_FOR`) is left out.
    """
    statement = select(StrategyRate).filter_by(**_key_of(plan)).order_by(StrategyRate.strategy)
    forgotten = now() - FAILURES_COUNT_FOR
    with database.reading() as session:
        return [
            MeasuredStrategy.model_validate(row, from_attributes=True)
            for row in session.scalars(statement)
            if row.seconds_per_iteration is not None or row.at > forgotten
        ]


def fastest(measured: Iterable[MeasuredStrategy]) -> DeepSpeed | None:
    """Return the strategy with the fewest seconds an iteration; None where all have failed."""
    rates = {m.seconds_per_iteration: m.strategy for m in measured if m.seconds_per_iteration is not None}
    return rates[min(rates)] if rates else None


def _key_of(plan: RunPlan) -> dict[str, str | int]:
    """What decides how long an iteration takes, besides the strategy."""
    return {
        "cluster": plan.cluster_name,
        "recipe": plan.recipe_name,
        "xtuner_config": plan.recipe.xtuner_config,
        "base_model": plan.base_model,
        "hosts": ", ".join(f"{host.name} {host.processes}" for host in plan.cluster.hosts),
        **plan.training.model_dump(include={*_SETTINGS}),
    }
