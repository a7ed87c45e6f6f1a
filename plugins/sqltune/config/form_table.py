"""The page docs/form.md: every field of the form, the presets, and every field of a recipe and a cluster.

`pytest --update-golden tests/sqltune/config/test_form_table.py` writes it.
"""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaValue

from sqltune.config.cluster import Cluster, Host, Keep, Serving
from sqltune.config.json_schema import flat_schema
from sqltune.config.presets import load_preset, preset_names
from sqltune.config.recipe import Decoding, Recipe, Revisions, Training
from sqltune.config.spec import PRESET_FIELDS, RunSpec
from sqltune.config.trial import Trial
from sqltune.node_contracts.serving import RequestLimits
from ssh_gang.model import Limits

HEADING = """\
# The form

Generated from the models in `plugins/sqltune/config`: the trigger form, the check of the YAML files and this
page have the same fields, limits and descriptions. To renew it:
`pytest --update-golden tests/sqltune/config/test_form_table.py`.

The run's value of a setting is the form's; where the form is empty, the preset's; where that has none, the
recipe's. Steps and epochs count as one setting: either of them on the form leaves out the preset's, and
epochs take the place of the recipe's steps. So do `deepspeed` and `probe: true`. Airflow refuses a value
outside the limits when the run is triggered, on its page and through the REST API; the task `plan` checks the
same again, together with recipe and cluster, and names every mistake at once.
"""
FILES: tuple[tuple[str, type[BaseModel]], ...] = (
    ("A recipe: `include/configs/recipes/NAME.yaml`", Recipe),
    ("`training` of a recipe", Training),
    ("`decoding` of a recipe", Decoding),
    ("`revisions` of a recipe", Revisions),
    ("A cluster: `include/configs/clusters/NAME.yaml`", Cluster),
    ("`hosts` of a cluster", Host),
    ("`serving` of a cluster", Serving),
    ("`limits` of `serving`", RequestLimits),
    ("`trial` of `serving`", Trial),
    ("`limits` of a cluster", Limits),
    ("`keep` of a cluster", Keep),
)


def page() -> str:
    """The text of docs/form.md."""
    parts = [HEADING]
    fields = RunSpec.model_json_schema()["properties"]
    for section in dict.fromkeys(prop.get("section", "") for prop in fields.values()):
        shown = {name: prop for name, prop in fields.items() if prop.get("section", "") == section}
        parts.append(f"## {section or 'What and where'}\n\n" + "\n".join(_form_rows(shown)) + "\n")
    parts.append("## Presets\n\n" + "\n".join(_preset_rows()) + "\n")
    parts += [f"## {title}\n\n" + "\n".join(_file_rows(model)) + "\n" for title, model in FILES]
    return "\n".join(parts)


def _form_rows(fields: dict[str, JsonSchemaValue]) -> Iterator[str]:
    yield "| field | title | value | meaning | preset may set it |"
    yield "|---|---|---|---|---|"
    for name, prop in fields.items():
        preset = "yes" if name in PRESET_FIELDS else "no"
        yield f"| `{name}` | {prop['title']} | {_value(prop)} | {_text(prop['description'])} | {preset} |"


def _preset_rows() -> Iterator[str]:
    yield "| preset | fills in | for |"
    yield "|---|---|---|"
    for name in preset_names():
        preset = load_preset(name)
        values = preset.values.model_dump(include=PRESET_FIELDS, exclude_none=True)
        filled = ", ".join(f"`{field}: {value}`" for field, value in values.items())
        yield f"| {name} | {filled} | {preset.description} |"


def _file_rows(model: type[BaseModel]) -> Iterator[str]:
    yield "| field | value | meaning |"
    yield "|---|---|---|"
    schema = model.model_json_schema()
    required = set(schema.get("required", ()))
    for name, prop in schema["properties"].items():
        note = "required" if name in required else _default(prop)
        yield f"| `{name}` | {_value(prop)}{note and f'; {note}'} | {_text(prop.get('description', ''))} |"


def _value(prop: JsonSchemaValue) -> str:
    """Type or choices, limits, and an example."""
    schema = flat_schema(prop)
    choices = [str(choice) for choice in schema.get("enum", ()) if choice is not None]
    kind = ", ".join(choices) or " or ".join(t for t in schema["type"] if t != "null") or "see below"
    limits = [f"{schema['minimum']:g} or more"] if "minimum" in schema else []
    if "maximum" in schema:
        upper = f"{schema['maximum']:,}"
        limits = [f"{schema['minimum']:g} to {upper}" if limits else f"{upper} or less"]
    example = [f"such as `{prop['examples'][0]}`"] if prop.get("examples") else []
    return "; ".join([kind, *limits, *example])


def _default(prop: JsonSchemaValue) -> str:
    default = prop.get("default")
    if default is None or isinstance(default, dict):
        return ""
    return f"default `{default}`"


def _text(description: str) -> str:
    return description.replace("|", "\\|")
