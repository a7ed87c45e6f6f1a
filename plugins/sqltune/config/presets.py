"""Presets: named values for a few fields of the form."""

from __future__ import annotations

from pydantic import Field, field_validator

from sqltune.config import loading, paths
from sqltune.config.spec import PRESET_FIELDS, RunSpec
from sqltune.errors import ConfigError
from ssh_gang.model import Model

FILE = "presets.yaml"


class Preset(Model):
    """One preset of the file `presets.yaml`."""

    description: str = Field(description="One line for the form.")
    values: RunSpec = Field(description="Fields that it fills in.")

    @field_validator("values", mode="before")
    @classmethod
    def _only_fields_of_a_preset(cls, values: object) -> object:
        if isinstance(values, dict) and (others := sorted(values.keys() - PRESET_FIELDS)):
            raise ValueError(f"{', '.join(others)} cannot be part of a preset: remove it")
        return values


def preset_names() -> list[str]:
    """Names of the presets, in the order of the file."""
    return list(_file())


def load_preset(name: str) -> Preset:
    """Read a preset.

    Raises:
        ConfigError: There is none of that name, or it has mistakes; it lists all of them.
    """
    presets = _file()
    if name not in presets:
        choices = ", ".join(presets)
        raise ConfigError([f"preset: {name!r} does not exist (choices: {choices}): choose one, or none"])
    return loading.validated(Preset, presets[name], f"{FILE}.{name}")


def _file() -> dict[str, object]:
    content = loading.read_yaml(paths.CONFIGS / FILE)
    return content if isinstance(content, dict) else {}
