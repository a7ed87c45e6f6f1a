"""The trigger form: `RunSpec` as Airflow Params."""

from __future__ import annotations

import os
from typing import Any

from airflow.sdk import Param

from sqltune.config.loading import cluster_names, recipe_names
from sqltune.config.spec import RunSpec

_LIMITS = {"minimum": "minimum", "maximum": "maximum", "enum": "enum", "pattern": "pattern"}


def _schema(prop: dict[str, Any]) -> dict[str, Any]:
    """JSON schema of one field for Airflow, which wants one flat list of types in place of anyOf."""
    branches = prop.get("anyOf", [prop])
    schema: dict[str, Any] = {"type": [b["type"] for b in branches if "type" in b]}
    for branch in branches:
        schema |= {ours: branch[theirs] for theirs, ours in _LIMITS.items() if theirs in branch}
    if "enum" in schema and "null" in schema["type"]:
        schema["enum"] = [*schema["enum"], None]
    return schema


def params() -> dict[str, Param]:
    """One Param per field of `RunSpec`, in its order; SQLTUNE_RECIPE and SQLTUNE_CLUSTER set what the form starts with."""
    found = {}
    for name, prop in RunSpec.model_json_schema()["properties"].items():
        schema = _schema(prop)
        default = prop.get("default")
        if name in ("recipe", "cluster"):
            default = os.environ.get(f"SQLTUNE_{name.upper()}", default)
            schema["examples"] = recipe_names() if name == "recipe" else cluster_names()
        if "section" in prop:
            schema["section"] = prop["section"]
        found[name] = Param(default, title=prop["title"], description=prop["description"], **schema)
    return found
