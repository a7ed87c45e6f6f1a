"""How fast each DeepSpeed strategy was on a cluster: measured in a few iterations, before a training."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import select

from sqltune.config.plan import RunPlan
from sqltune.records import database
from sqltune.records.estimate_tables import StrategyRate
from sqltune.records.measured_strategy import MeasuredStrategy
from sqltune.records.types import now

FAILURES_COUNT_FOR = timedelta(days=30)
"""After which a strategy that failed is tried again: what it lacked may have been installed meanwhile."""
_SETTINGS = ("max_length", "batch_size", "accumulative_counts", "lora_rank")
_KEYS = ["cluster", "recipe", "xtuner_config", "base_model", "hosts", *_SETTINGS, "strategy"]


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
