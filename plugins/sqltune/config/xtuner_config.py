"""A run's xtuner config: the recipe's config file with the plan's values in part 1."""

from __future__ import annotations

import ast
import re
import threading
from collections.abc import Mapping
from pathlib import Path

from sqltune.config import paths
from sqltune.config.plan import RunPlan
from sqltune.errors import ConfigError

_INCLUDE = re.compile(r"^# include: ([\w.]+)$", re.M)
_PARSER = threading.Lock()


def render(plan: RunPlan, train_path: str) -> str:
    """The config to train with, as it is written to each host.

    Args:
        plan: The run plan.
        train_path: The training rows on each host.

    Raises:
        ConfigError: The recipe's config file lacks a setting.
    """
    return set_values(read_config(plan.recipe.xtuner_config), _settings(plan, train_path))


def read_config(name: str) -> str:
    """The text of a config in include/configs/xtuner, with the parts that it includes in place.

    A host receives this one file. mmengine's own `read_base` would need the parts beside it, and evaluates
    them before the config's settings, which they depend on.
    """
    folder = paths.CONFIGS / "xtuner"
    source = (folder / name).read_text(encoding="utf-8")
    return _INCLUDE.sub(lambda match: _without_docstring(folder / "parts" / match[1]), source)


def exists(name: str) -> bool:
    """Whether there is a config of this name in include/configs/xtuner."""
    return (paths.CONFIGS / "xtuner" / name).is_file()


def takes_adapter(name: str) -> bool:
    """Whether a config in include/configs/xtuner can go on from an adapter (`adapter_finetune.py`).

    Args:
        name: Name of the file, which exists.
    """
    # In its own part 1: what `common.py` makes of the two is not to be replaced.
    own = (paths.CONFIGS / "xtuner" / name).read_text(encoding="utf-8")
    settings = {"start_adapter", "start_digest"}
    return settings <= _first_assignments(own).keys() and "AdapterFinetune" in read_config(name)


def set_values(source: str, values: Mapping[str, object]) -> str:
    """Replace the first top-level assignment of each name by `name = value`.

    Args:
        source: Text of a Python file.
        values: New values by name; each is written as its `repr`.

    Raises:
        ConfigError: A name is not assigned at the top level; it lists all of them.
    """
    lines = source.splitlines()
    places = _first_assignments(source)
    if missing := [name for name in values if name not in places]:
        raise ConfigError(
            [
                f"xtuner config: {name} is not assigned at its top level: add `{name} = …` to part 1"
                for name in missing
            ]
        )
    # From the last to the first, so that the line numbers of earlier ones stay valid.
    for name in sorted(values, key=lambda name: places[name], reverse=True):
        begin, end = places[name]
        lines[begin:end] = [f"{name} = {values[name]!r}"]
    return "\n".join(lines) + "\n"


def parse(source: str) -> ast.Module:
    """The syntax tree of a config.

    One thread at a time: CPython 3.11 counts the depth of the trees that it builds for all threads together,
    and fails with "AST constructor recursion depth mismatch" where two build theirs at once.

    Raises:
        SyntaxError: It is not Python.
    """
    with _PARSER:
        return ast.parse(source)


def _without_docstring(part: Path) -> str:
    source = part.read_text(encoding="utf-8")
    docstring = parse(source).body[0]
    return "\n".join(source.splitlines()[docstring.end_lineno :])


def _settings(plan: RunPlan, train_path: str) -> dict[str, str | int | float | None]:
    training = plan.training
    # A config of one's own may do without these as long as nothing goes on from a champion.
    start: dict[str, str | int | float | None] = (
        {"start_adapter": plan.start.path, "start_digest": plan.start.digest} if plan.start else {}
    )
    return start | {
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
    }


def _first_assignments(source: str) -> dict[str, tuple[int, int]]:
    """First and last line (from 0, the last exclusive) of each name's first top-level assignment."""
    places: dict[str, tuple[int, int]] = {}
    for node in parse(source).body:
        if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
            places.setdefault(node.targets[0].id, (node.lineno - 1, node.end_lineno or node.lineno))
    return places
