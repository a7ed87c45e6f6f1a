"""The trigger form: `RunSpec` as Airflow Params."""

from __future__ import annotations

import os
from typing import Any

from airflow.sdk import Param
from pydantic.json_schema import JsonSchemaValue

from sqltune.config.loading import cluster_names, recipe_names
from sqltune.config.spec import RunSpec

_CONSTRAINTS = ("minimum", "maximum", "enum", "pattern")


def params() -> dict[str, Param]:
    """One Param for each field of `RunSpec`, in its order."""
    return {name: _param(name, prop) for name, prop in RunSpec.model_json_schema()["properties"].items()}


def cluster_param() -> Param:
    """The field that selects a cluster."""
    return params()["cluster"]


def _param(name: str, prop: JsonSchemaValue) -> Param:
    schema = _schema(prop)
    default: Any = prop.get("default")
    if name == "recipe":
        schema, default = _select(schema, default, "SQLTUNE_RECIPE", recipe_names())
    elif name == "cluster":
        schema, default = _select(schema, default, "SQLTUNE_CLUSTER", cluster_names())
    if "section" in prop:
        schema["section"] = prop["section"]
    return Param(default, title=prop["title"], description=prop["description"], **schema)


def _schema(prop: JsonSchemaValue) -> JsonSchemaValue:
    """JSON schema of one field for Airflow, which expects a flat list of types in place of anyOf."""
    branches = prop.get("anyOf", [prop])
    schema: JsonSchemaValue = {"type": [b["type"] for b in branches if "type" in b]}
    for branch in branches:
        schema |= {key: branch[key] for key in _CONSTRAINTS if key in branch}
    if "enum" in schema and "null" in schema["type"]:
        schema["enum"] = [*schema["enum"], None]
    return schema


def _select(
    schema: JsonSchemaValue, default: str, variable: str, names: list[str]
) -> tuple[JsonSchemaValue, str]:
    """A select with the files that exist when the DAG is parsed; an environment variable sets its default.

    A default without a file stays in the list: it would make the DAG unimportable, while the task `plan`
    names the mistake.
    """
    default = os.environ.get(variable, default)
    return schema | {"enum": sorted({*names, default})}, default
