"""The form becomes a plan: everything is checked at once, and what is named loosely is pinned."""

from __future__ import annotations

import os
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from sqltune.config import paths
from sqltune.config.cluster import Cluster
from sqltune.config.gate_rules import GateRules
from sqltune.config.loading import describe, load_cluster, load_gate_rules, load_recipe
from sqltune.config.plan import RunPlan
from sqltune.config.recipe import Recipe, Training
from sqltune.config.spec import RunSpec
from sqltune.dataset import hub
from sqltune.errors import ConfigError, HubError, HubUnreachable
from sqltune.evaluation import suites
from sqltune.registry import versions

_TRAINING_FIELDS = {
    "max_steps",
    "max_epochs",
    "learning_rate",
    "lora_rank",
    "max_length",
    "deepspeed",
    "seed",
}


def training_of(spec: RunSpec, recipe: Recipe) -> Training:
    """The recipe's training with the form's values on top. Steps on the form win over epochs, and epochs over the recipe's steps."""
    given = spec.model_dump(include=_TRAINING_FIELDS, exclude_none=True)
    base = recipe.training.model_dump()
    if "max_epochs" in given and "max_steps" not in given:
        base["max_steps"] = None
    return Training.model_validate(base | given)


def problems_of(recipe: Recipe, cluster: Cluster, training: Training) -> list[str]:
    """What does not fit together, although each value is allowed."""
    found = []
    if not (paths.CONFIGS / "xtuner" / recipe.xtuner_config).is_file():
        there = ", ".join(sorted(p.name for p in (paths.CONFIGS / "xtuner").glob("*.py")))
        found.append(
            f"recipe.xtuner_config: {recipe.xtuner_config!r} is not in include/configs/xtuner (there are: {there})"
        )
    if training.max_steps is None and training.max_epochs is None:
        found.append("max_steps: neither max_steps nor max_epochs is set: set one in the form or the recipe")
    if training.max_length < 64:
        found.append(
            f"max_length: {training.max_length} tokens hold no example (the prompt alone has more than 64): set 128 or more"
        )
    names = [h.name for h in cluster.hosts]
    found += [
        f"cluster.hosts: {n!r} is named twice" for n in sorted({n for n in names if names.count(n) > 1})
    ]
    if cluster.serving.host not in names:
        found.append(
            f"cluster.serving.host: {cluster.serving.host!r} is not one of the hosts ({', '.join(names)})"
        )
    if len({h.processes for h in cluster.hosts}) > 1:
        found.append(
            f"cluster.hosts: processes differ ({', '.join(f'{h.name}: {h.processes}' for h in cluster.hosts)}): torchrun wants as many on each"
        )
    if cluster.serving.api_key_env and not os.environ.get(cluster.serving.api_key_env):
        found.append(
            f"cluster.serving.api_key_env: {cluster.serving.api_key_env} is not set: set it for Airflow, or serve without a key"
        )
    if cluster.accelerator == "cpu" and cluster.backend == "nccl":
        found.append("cluster.backend: nccl needs GPUs, and accelerator is cpu: set backend to gloo")
    return found


def make_plan(form: dict[str, Any], run_id: str, as_of: datetime, code_version: str) -> RunPlan:
    """The plan for a filled-in form; `ConfigError` with every mistake that can be seen without touching a host.

    `HubUnreachable` when the form is right and the hub does not answer: that may be another in a minute.
    """
    mistakes: list[str] = []
    unreachable: HubUnreachable | None = None
    try:
        spec = RunSpec.model_validate(form)
    except ValidationError as e:
        mistakes += describe(e)
        # Go on with the fields that are right, to find the other mistakes too.
        wrong = {error["loc"][0] for error in e.errors()}
        spec = RunSpec.model_validate({k: v for k, v in form.items() if k not in wrong})
    recipe = cluster = None
    try:
        recipe = load_recipe(spec.recipe)
    except ConfigError as e:
        mistakes += e.mistakes
    try:
        cluster = load_cluster(spec.cluster)
    except ConfigError as e:
        mistakes += e.mistakes
    pinned = training = gate = None
    further: list[str] = []
    if isinstance(recipe, Recipe):
        further = [name.strip() for name in (spec.suites or recipe.suites or "").split(",") if name.strip()]
        for name in further:
            try:
                suites.load(name, 1)
            except ConfigError as e:
                mistakes += e.mistakes
        try:
            gate = load_gate_rules(recipe, spec.recipe)
        except ConfigError as e:
            mistakes += e.mistakes
    if isinstance(recipe, Recipe) and isinstance(cluster, Cluster):
        training = training_of(spec, recipe)
        mistakes += problems_of(recipe, cluster, training)
        try:
            pinned = hub.pin(
                spec.dataset_repo or recipe.dataset_repo,
                spec.dataset_revision or "",
                cluster.hub_endpoint,
                as_of,
            )
        except HubUnreachable as e:
            unreachable = e
        except HubError as e:
            mistakes.append(str(e))
    if mistakes:
        raise ConfigError([*mistakes, *([str(unreachable)] if unreachable else [])])
    if unreachable:
        raise unreachable
    assert pinned is not None and training is not None
    assert isinstance(recipe, Recipe) and isinstance(cluster, Cluster) and isinstance(gate, GateRules)
    return RunPlan(
        run_id=run_id,
        recipe_name=spec.recipe,
        cluster_name=spec.cluster,
        recipe=recipe,
        cluster=cluster,
        training=training,
        dataset_repo=spec.dataset_repo or recipe.dataset_repo,
        dataset_revision=spec.dataset_revision or "",
        dataset_commit=pinned.commit,
        dataset_date=pinned.date.isoformat(),
        base_model=spec.base_model or recipe.base_model,
        eval_questions=spec.eval_questions or recipe.eval_questions,
        suites=further,
        gate=gate,
        reference_model=spec.reference_model,
        promote=spec.promote,
        force=spec.force,
        champion=versions.champion(spec.cluster),
        code_version=code_version,
    )
