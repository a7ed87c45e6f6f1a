"""Seconds an iteration: measured on the cluster where a run was made, else by published figures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import median

from sqltune.config.plan import RunPlan
from sqltune.config.recipe import DeepSpeed
from sqltune.estimate.config_traits import traits
from sqltune.estimate.model import Rate
from sqltune.estimate.published import published
from sqltune.records.measured_strategy import MeasuredStrategy
from sqltune.records.trainings import MeasuredTraining

RECENT = 5
"""Earlier runs that count, the newest ones."""
SPREAD = 1.2
"""By how much a run may be faster or slower than the ones before it."""
UNCERTAIN = 2.0
"""The same for a run with other settings, and for published figures."""
UNKNOWN_OVERHEAD = 120.0
"""Seconds for loading the model and writing the checkpoint, where neither was measured."""
_SPEED = ("max_length", "batch_size")
"""Settings of the training that decide, with the strategy, how long an iteration takes."""


def rate(
    plan: RunPlan,
    trainings: Sequence[MeasuredTraining],
    tokens: int | None,
    parameters: float | None,
    probed: Sequence[MeasuredStrategy] = (),
) -> Rate | None:
    """Return how long an iteration takes.

    Args:
        plan: The plan.
        trainings: Finished trainings of its cluster, the newest first.
        tokens: Of one rank's iteration, where they are known.
        parameters: Of the base model, where they are known.
        probed: Strategies that were measured on its cluster with its settings.
    """
    if same := _recent(trainings, lambda t: is_same(plan, t)):
        return _measured(same, [t.seconds_per_step for t in same], SPREAD)
    if (each := _probed(probed, plan.training.deepspeed)) is not None:
        return Rate(
            seconds=each,
            low=each / SPREAD,
            high=each * SPREAD,
            overhead=UNKNOWN_OVERHEAD,
            basis="probe",
            runs=0,
            sources=[],
        )
    if tokens is None:
        return None
    # Packed rows have no padding, and the padding of other runs is not known: tokens a second include it.
    similar = _recent(trainings, lambda t: is_similar(plan, t) and bool(t.tokens_per_second))
    if similar:
        seconds = [tokens / t.tokens_per_second for t in similar if t.tokens_per_second]
        return _measured(similar, seconds, UNCERTAIN).model_copy(update={"basis": "cluster"})
    return _published(plan, tokens, parameters) if parameters else None


def is_same(plan: RunPlan, training: MeasuredTraining) -> bool:
    """Whether a training's iterations were those that the plan will make."""
    settings, theirs = plan.training.model_dump(mode="json"), training.plan["training"]
    return (
        training.recipe == plan.recipe_name
        and training.strategy == plan.training.deepspeed
        and all(settings[name] == theirs.get(name) for name in _SPEED)
        and _same_machines(plan, training)
    )


def is_similar(plan: RunPlan, training: MeasuredTraining) -> bool:
    """Whether a training had the plan's base model and strategy on the same hosts."""
    return training.strategy == plan.training.deepspeed and _same_machines(plan, training)


def measured_slowdown(
    plan: RunPlan,
    trainings: Sequence[MeasuredTraining],
    other: DeepSpeed,
    probed: Sequence[MeasuredStrategy] = (),
) -> float | None:
    """How much slower the plan's strategy was here than another one, with the same settings otherwise."""
    own = _seconds(plan, trainings, probed)
    others = _seconds(plan.with_strategy(other), trainings, probed)
    return None if own is None or others is None else own / others


def _seconds(
    plan: RunPlan, trainings: Sequence[MeasuredTraining], probed: Sequence[MeasuredStrategy]
) -> float | None:
    """Seconds an iteration, in whole trainings, or else as it was probed."""
    same = _recent(trainings, lambda t: is_same(plan, t))
    return median(t.seconds_per_step for t in same) if same else _probed(probed, plan.training.deepspeed)


def _probed(probed: Sequence[MeasuredStrategy], strategy: DeepSpeed) -> float | None:
    return next((m.seconds_per_iteration for m in probed if m.strategy == strategy), None)


def _same_machines(plan: RunPlan, training: MeasuredTraining) -> bool:
    hosts = [[h["name"], h["processes"]] for h in training.plan["cluster"]["hosts"]]
    own = [[h.name, h.processes] for h in plan.cluster.hosts]
    return training.plan["base_model"] == plan.base_model and hosts == own


def _recent(
    trainings: Sequence[MeasuredTraining], wanted: Callable[[MeasuredTraining], bool]
) -> list[MeasuredTraining]:
    return [t for t in trainings if wanted(t)][:RECENT]


def _measured(trainings: Sequence[MeasuredTraining], seconds: Sequence[float], spread: float) -> Rate:
    around = [t.seconds - t.steps * t.seconds_per_step for t in trainings if t.seconds is not None]
    middle = median(seconds)
    return Rate(
        seconds=middle,
        low=min(*seconds, middle / spread),
        high=max(*seconds, middle * spread),
        overhead=max(0.0, median(around)) if around else UNKNOWN_OVERHEAD,
        basis="recipe",
        runs=len(trainings),
        sources=[],
    )


def _published(plan: RunPlan, tokens: int, parameters: float) -> Rate | None:
    figures = published()
    is_quantized = traits(plan.recipe.xtuner_config).weight_bits < 16
    nearest = figures.rate(plan.cluster.accelerator, parameters, is_quantized)
    if nearest is None:
        return None
    low, high, sources = figures.slowdown(plan.training.deepspeed)
    if nearest.strategy == plan.training.deepspeed:
        low, high, sources = 1.0, 1.0, []
    seconds = tokens / nearest.tokens_per_second
    return Rate(
        seconds=seconds * (low * high) ** 0.5,
        low=seconds * low / UNCERTAIN,
        high=seconds * high * UNCERTAIN,
        overhead=UNKNOWN_OVERHEAD,
        basis="published",
        runs=0,
        sources=[nearest.source, *sources],
    )
