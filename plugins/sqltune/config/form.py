"""The trigger form: `RunSpec` as Airflow Params."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from airflow.sdk import Param
from pydantic.json_schema import JsonSchemaValue

from sqltune.config.json_schema import flat_schema
from sqltune.config.loading import cluster_names, load_recipe, recipe_names
from sqltune.config.presets import preset_names
from sqltune.config.spec import RunSpec
from sqltune.environment import setting
from sqltune.errors import ConfigError

EMPTY = "(empty)"
"""How the form shows a select in which nothing is chosen."""
_PROPOSED = ("dataset_repo", "base_model")
"""Fields for which the form proposes what the recipes have; any other value may be typed."""


def params() -> dict[str, Param]:
    """One Param for each field of `RunSpec`, in its order."""
    proposed = _values_of_recipes()
    return {name: _param(name, prop, proposed.get(name)) for name, prop in _fields().items()}


def cluster_param() -> Param:
    """The field that selects a cluster."""
    return _param("cluster", _fields()["cluster"])


def _fields() -> dict[str, JsonSchemaValue]:
    properties: dict[str, JsonSchemaValue] = RunSpec.model_json_schema()["properties"]
    return properties


def _param(name: str, prop: JsonSchemaValue, proposed: list[str] | None = None) -> Param:
    schema = flat_schema(prop)
    default: Any = prop.get("default")
    if name == "recipe":
        schema, default = _select(schema, default, "SQLTUNE_RECIPE", recipe_names())
    elif name == "cluster":
        schema, default = _select(schema, default, "SQLTUNE_CLUSTER", cluster_names())
    elif name == "preset":
        names = preset_names()
        schema["enum"] = [*names, None]
    elif proposed is not None:
        schema["examples"] = proposed
    if None in schema.get("enum", ()):
        # Airflow's page would show an empty choice as "null".
        labels = {
            choice: choice.replace("_", " ") if name == "preset" else choice for choice in schema["enum"][:-1]
        }
        schema["values_display"] = labels | {"null": EMPTY}
    if "section" in prop:
        schema["section"] = prop["section"]
    return Param(default, title=prop["title"], description=_help(prop), **schema)


def _help(prop: JsonSchemaValue) -> str:
    example = f" Example: {prop['examples'][0]}" if prop.get("examples") else ""
    return f"{prop['description']}{example}"


def _select(
    schema: JsonSchemaValue, default: str, variable: str, names: list[str]
) -> tuple[JsonSchemaValue, str]:
    """A select with the files that exist when the DAG is parsed; an environment variable sets its default.

    A default without a file stays in the list: it would make the DAG unimportable, while the task `plan`
    names the mistake.
    """
    default = setting(variable, default)
    return schema | {"enum": sorted({*names, default})}, default


def _values_of_recipes() -> dict[str, list[str]]:
    """What the recipes have in the proposed fields; of one with mistakes, which `plan` names, nothing."""
    recipes = []
    for recipe in recipe_names():
        with suppress(ConfigError):
            recipes.append(load_recipe(recipe))
    return {name: sorted({str(getattr(recipe, name)) for recipe in recipes}) for name in _PROPOSED}
