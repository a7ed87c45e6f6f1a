"""JSON schema of a single field, as Airflow's form and the table in docs/form.md need it."""

from __future__ import annotations

from pydantic.json_schema import JsonSchemaValue

_CONSTRAINTS = ("minimum", "maximum", "enum", "pattern")


def flat_schema(prop: JsonSchemaValue) -> JsonSchemaValue:
    """JSON schema of one field for Airflow, which expects a flat list of types in place of anyOf."""
    branches = prop.get("anyOf", [prop])
    schema: JsonSchemaValue = {"type": [b["type"] for b in branches if "type" in b]}
    for branch in branches:
        schema |= {key: branch[key] for key in _CONSTRAINTS if key in branch}
    if "enum" in schema and "null" in schema["type"]:
        schema["enum"] = [*schema["enum"], None]
    return schema
