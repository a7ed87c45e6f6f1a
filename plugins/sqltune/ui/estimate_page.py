"""Estimates as the page shows them: of a run beside what it took, and of one that is not triggered yet."""

from __future__ import annotations

from collections.abc import Callable

from pydantic import ValidationError

from sqltune.config.cluster import Cluster
from sqltune.config.loading import cluster_names, describe, load_cluster, load_recipe, recipe_names
from sqltune.config.plan import RunPlan
from sqltune.config.presets import Preset, load_preset, preset_names
from sqltune.config.recipe import Recipe
from sqltune.config.spec import RunSpec
from sqltune.environment import setting
from sqltune.errors import ConfigError
from sqltune.estimate.estimating import require_memory
from sqltune.estimate.model import Estimate
from sqltune.estimate.preview import preview
from sqltune.records import runs, series, strategies, trainings
from sqltune.records.measured_strategy import MeasuredStrategy
from sqltune.records.trainings import MeasuredTraining
from sqltune.ui.cost import price
from sqltune.ui.estimate_contracts import Choice, Choices, NewRunEstimate, RunEstimate, Taken


def of_run(key: str) -> RunEstimate:
    """Return what a run was estimated to take, and what it took."""
    recorded, training = runs.estimate(key), trainings.of_run(key)
    return RunEstimate(
        estimate=Estimate.model_validate(recorded) if recorded else None,
        taken=_taken(key, training) if training else None,
        strategies=_measured_strategies(key),
    )


def of_form(fields: dict[str, object]) -> NewRunEstimate:
    """Return what a run would take with these fields of the form; recipe and cluster have its defaults."""
    mistakes: list[str] = []
    try:
        plan, estimated = preview(RunSpec.model_validate(_defaults() | fields))
    except ValidationError as e:
        mistakes = describe(e)
    except ConfigError as e:
        mistakes = e.mistakes
    if mistakes:
        return NewRunEstimate(
            estimate=None, base_model=None, dataset_repo=None, promote=None, mistakes=mistakes
        )
    try:
        require_memory(estimated)
    except ConfigError as e:
        mistakes = e.mistakes
    return NewRunEstimate(
        estimate=estimated,
        base_model=plan.base_model,
        dataset_repo=plan.dataset_repo,
        promote=plan.promote,
        mistakes=mistakes,
    )


def choices() -> Choices:
    """Return the recipes, clusters and presets that there are."""
    return Choices(
        recipes=[_described(load_recipe, name) for name in recipe_names()],
        clusters=[_described(load_cluster, name) for name in cluster_names()],
        presets=[_described(load_preset, name) for name in preset_names()],
        **_defaults(),
    )


def _defaults() -> dict[str, str]:
    """Recipe and cluster that the form opens with."""
    form = RunSpec()
    return {
        "recipe": setting("SQLTUNE_RECIPE", form.recipe),
        "cluster": setting("SQLTUNE_CLUSTER", form.cluster),
    }


def _measured_strategies(key: str) -> list[MeasuredStrategy]:
    plan = runs.plan(key)
    if plan is None or not plan["training"].get("probe"):
        return []
    return strategies.measured(RunPlan.model_validate(plan))


def _taken(key: str, training: MeasuredTraining) -> Taken:
    cluster = training.plan["cluster"]
    ranks = sum(host["processes"] for host in cluster["hosts"])
    has_gpus = cluster.get("accelerator") != "cpu"
    hours = ranks * training.seconds / 3600 if training.seconds is not None and has_gpus else None
    used = max((sample.gpu.memory_used for sample in series.gpu_samples(key)), default=None)
    return Taken(
        strategy=training.strategy,
        iterations=training.steps,
        seconds_per_step=training.seconds_per_step,
        seconds=training.seconds,
        gpu_hours=hours,
        price=price(cluster.get("gpu_hour_price"), hours),
        memory=None if used is None else used / 1024,
    )


def _described(load: Callable[[str], Recipe | Cluster | Preset], name: str) -> Choice:
    """A choice with the description in its file; with its mistakes, where it cannot be read."""
    try:
        return Choice(name=name, description=load(name).description)
    except ConfigError as e:
        return Choice(name=name, description="; ".join(e.mistakes))
