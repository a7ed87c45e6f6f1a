"""A run's xtuner config: the recipe's config file with the plan's values in part 1."""

from __future__ import annotations

import ast
from typing import Any

from sqltune.config import paths
from sqltune.config.plan import RunPlan
from sqltune.errors import ConfigError


def set_values(source: str, values: dict[str, Any]) -> str:
    """Replace the first top-level assignment of each name by `name = value`; `ConfigError` for a name that is not assigned."""
    lines = source.splitlines()
    places: dict[str, tuple[int, int]] = {}
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
            places.setdefault(node.targets[0].id, (node.lineno - 1, node.end_lineno or node.lineno))
    missing = [name for name in values if name not in places]
    if missing:
        raise ConfigError(
            [
                f"xtuner config: {name} is not assigned at its top level: add `{name} = …` to part 1"
                for name in missing
            ]
        )
    for name, (begin, end) in sorted(
        ((n, places[n]) for n in values), key=lambda item: item[1], reverse=True
    ):
        lines[begin:end] = [f"{name} = {values[name]!r}"]
    return "\n".join(lines) + "\n"


def render(plan: RunPlan, train_path: str) -> str:
    """The config that is trained with, as it lies beside the weights."""
    source = (paths.CONFIGS / "xtuner" / plan.recipe.xtuner_config).read_text(encoding="utf-8")
    training = plan.training
    return set_values(
        source,
        {
            "pretrained_model_name_or_path": plan.base_model,
            "data_path": train_path,
            "max_length": training.max_length,
            "batch_size": training.batch_size,
            "accumulative_counts": training.accumulative_counts,
            "max_steps": training.max_steps or 0,
            "max_epochs": 0 if training.max_steps else training.max_epochs,
            "lr": training.learning_rate,
            "lora_r": training.lora_rank,
            "seed": training.seed,
            "log_interval": training.log_interval,
            "save_steps": training.save_steps,
            "save_total_limit": training.save_total_limit,
            "backend": plan.cluster.backend,
        },
    )
