"""Reading recipes, clusters and the gate's rules from their YAML files."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from sqltune.config import paths
from sqltune.config.cluster import Cluster
from sqltune.config.gate_rules import GateRules
from sqltune.config.recipe import Recipe
from sqltune.errors import ConfigError

M = TypeVar("M", bound=BaseModel)

_VARIABLE = re.compile(r"\$\{(\w+)(?::-([^}]*))?\}")


def recipe_names() -> list[str]:
    """Names of the recipes, sorted: the files in include/configs/recipes without .yaml."""
    return _names("recipes")


def cluster_names() -> list[str]:
    """Names of the clusters, sorted: the files in include/configs/clusters without .yaml."""
    return _names("clusters")


def load_recipe(name: str) -> Recipe:
    """Read a recipe. It takes what it does not set itself from the recipe that it names in `extends`.

    Args:
        name: The file's name in include/configs/recipes, without .yaml.

    Raises:
        ConfigError: No recipe has that name, or the file has mistakes; it lists all of them.
    """
    return validated(Recipe, _recipe_values(name), f"recipes/{name}.yaml")


def load_cluster(name: str) -> Cluster:
    """Read a cluster, with `${NAME}` and `${NAME:-default}` replaced from the environment.

    Args:
        name: The file's name in include/configs/clusters, without .yaml.

    Raises:
        ConfigError: No cluster has that name, the file has mistakes, or a variable without a default is
            not set; it lists all of them.
    """
    return validated(Cluster, _values("cluster", name), f"clusters/{name}.yaml")


def load_gate_rules(recipe: Recipe, recipe_name: str) -> GateRules:
    """Read the gate's rules from gate.yaml, overridden by the recipe's own.

    Args:
        recipe: The recipe whose `gate` overrides single rules.
        recipe_name: The recipe's name, for error messages.

    Raises:
        ConfigError: gate.yaml or the recipe's overrides have mistakes; it lists all of them.
    """
    path = paths.CONFIGS / "gate.yaml"
    rules = read_yaml(path) or {}
    validated(GateRules, rules, path.name)
    return validated(GateRules, rules | recipe.gate, f"recipes/{recipe_name}.yaml.gate")


def describe(error: ValidationError, prefix: str = "") -> list[str]:
    """One line for each mistake that pydantic found: the field, its value, and what is wrong with it.

    Args:
        error: What pydantic raised.
        prefix: Put before each field, such as the file's name.
    """
    return [_line(e["loc"], e["type"], e["msg"], e["input"], prefix) for e in error.errors()]


def read_yaml(path: Path) -> Any:
    """The content of a YAML file in `CONFIGS`.

    Raises:
        ConfigError: It is not YAML; the message names the file and the line.
    """
    try:
        # libyaml's parser: a DAG file reads every recipe, and Python's own takes eight times as long.
        return yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)
    except yaml.YAMLError as e:
        file = path.relative_to(paths.CONFIGS)
        # The parser's message has several lines: the problem, and where it is.
        raise ConfigError([f"{file}: is not YAML ({' '.join(str(e).split())}): correct it there"]) from e


def validated(model: type[M], values: object, prefix: str) -> M:
    """Values as a model.

    Raises:
        ConfigError: They have mistakes; each names its field behind the prefix.
    """
    try:
        return model.model_validate(values)
    except ValidationError as e:
        raise ConfigError(describe(e, prefix)) from e


def _line(loc: tuple[int | str, ...], kind: str, message: str, value: object, prefix: str) -> str:
    field = ".".join([*filter(None, [prefix]), *map(str, loc)])
    if kind == "missing":
        return f"{field}: is missing: add it"
    if kind == "extra_forbidden":
        return f"{field}: is not a field here: correct its name, or remove it"
    return f"{field}: {value!r} is not allowed: {message[0].lower()}{message[1:]}"


def _names(folder: str) -> list[str]:
    return sorted(p.stem for p in (paths.CONFIGS / folder).glob("*.yaml"))


def _recipe_values(name: str, *extended_by: str) -> Any:
    if name in extended_by:
        raise ConfigError([f"recipes/{name}.yaml.extends: {name!r} extends itself: remove extends"])
    values = _values("recipe", name)
    if not isinstance(values, dict) or "extends" not in values:
        return values
    base = _recipe_values(str(values.pop("extends")), name, *extended_by)
    return _merged(base, values)


def _merged(base: Any, values: Any) -> Any:
    """Values on top of a base; where both are mappings, key by key."""
    if not isinstance(base, dict) or not isinstance(values, dict):
        return values
    return base | {key: _merged(base.get(key), value) for key, value in values.items()}


def _values(kind: str, name: str) -> Any:
    """The content of a recipe's or cluster's file, its variables replaced."""
    folder = f"{kind}s"
    known = _names(folder)
    file = f"{folder}/{name}.yaml"
    if name not in known:
        raise ConfigError(
            [f"{kind}: {name!r} does not exist (choices: {', '.join(known)}): choose one, or add {file}"]
        )
    mistakes: list[str] = []
    values = _expand(read_yaml(paths.CONFIGS / file), file, mistakes)
    if mistakes:
        raise ConfigError(mistakes)
    return values


def _expand(value: Any, where: str, mistakes: list[str]) -> Any:
    """Replace ${NAME} and ${NAME:-default} in every string of a YAML document.

    As in a shell, the default takes the place of an empty value too.
    """
    if isinstance(value, dict):
        return {k: _expand(v, f"{where}.{k}", mistakes) for k, v in value.items()}
    if isinstance(value, list):
        return [_expand(v, f"{where}[{i}]", mistakes) for i, v in enumerate(value)]
    if not isinstance(value, str):
        return value

    def replacement(match: re.Match[str]) -> str:
        name, default = match[1], match[2]
        setting = os.environ.get(name)
        if default is not None:
            return setting or default
        if setting is None:
            mistakes.append(
                f"{where}: ${{{name}}} is not set: set it in Airflow's environment, "
                f"or write ${{{name}:-default}}"
            )
            return match[0]
        return setting

    return _VARIABLE.sub(replacement, value)
