"""Presets are read from their file, and mistakes in it are named."""

from __future__ import annotations

import pytest

from sqltune.config import paths
from sqltune.config.presets import load_preset, preset_names
from sqltune.errors import ConfigError


@pytest.fixture
def presets(tmp_path, monkeypatch):
    """A file of presets that a test writes."""
    monkeypatch.setattr(paths, "CONFIGS", tmp_path)
    return tmp_path / "presets.yaml"


def test_shipped_presets_are_valid():
    assert preset_names() == ["quick_look", "nightly", "full"]
    assert all(load_preset(name).description for name in preset_names())


def test_a_quick_look_never_serves_its_model():
    assert load_preset("quick_look").values.promote == "hold"


def test_an_unknown_preset_lists_the_choices():
    with pytest.raises(
        ConfigError, match=r"preset: 'slow' does not exist \(choices: quick_look, nightly, full\)"
    ):
        load_preset("slow")


@pytest.mark.parametrize(
    "field", ["recipe: lab", "cluster: lab", "force: true", "preset: full", "colour: red"]
)
def test_a_field_that_is_not_a_presets_is_named(presets, field):
    presets.write_text(f"mine: {{description: d, values: {{{field}}}}}\n")
    name = field.partition(":")[0]
    with pytest.raises(ConfigError, match=f"presets.yaml.mine.values: .*{name} cannot be part of a preset"):
        load_preset("mine")


def test_a_value_outside_the_range_is_named(presets):
    presets.write_text("mine: {description: d, values: {lora_rank: 0}}\n")
    with pytest.raises(ConfigError, match=r"presets.yaml.mine.values.lora_rank: 0 is not allowed"):
        load_preset("mine")


def test_a_file_without_presets_offers_none(presets):
    presets.write_text("# nothing\n")
    assert preset_names() == []
