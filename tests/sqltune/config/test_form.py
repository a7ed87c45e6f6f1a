"""The trigger form: `RunSpec` as Airflow's Params."""

from __future__ import annotations

from sqltune.config.form import cluster_param, params
from sqltune.config.loading import cluster_names, recipe_names
from sqltune.config.presets import preset_names
from sqltune.config.spec import RunSpec


def test_every_field_of_the_run_spec_is_on_the_form():
    assert list(params()) == list(RunSpec.model_fields)


def test_recipe_and_cluster_are_selects_of_the_files():
    form = params()
    assert form["recipe"].schema["enum"] == recipe_names()
    assert form["cluster"].schema["enum"] == cluster_names()


def test_a_variable_sets_the_clusters_default(monkeypatch):
    monkeypatch.setenv("SQLTUNE_CLUSTER", "gpu_2x4")
    assert cluster_param().value == "gpu_2x4"


def test_a_default_without_a_file_does_not_break_the_form(monkeypatch):
    """The task `plan` names the mistake; a form that cannot be made would make the DAG unimportable."""
    monkeypatch.setenv("SQLTUNE_RECIPE", "removed")
    recipe = params()["recipe"]
    assert recipe.resolve() == "removed"
    assert recipe.schema["enum"] == sorted([*recipe_names(), "removed"])


def test_presets_are_a_select_that_may_be_empty():
    preset = params()["preset"]
    assert preset.schema["enum"] == [*preset_names(), None]
    assert preset.schema["values_display"] == {
        "quick_look": "quick look",
        "nightly": "nightly",
        "full": "full",
        "null": "(empty)",
    }
    assert preset.value is None


def test_help_ends_with_an_example():
    assert params()["learning_rate"].description.endswith(" Example: 0.0002")


def test_form_proposes_what_the_recipes_have():
    assert "/code/models/CodeLlama-7b-hf" in params()["base_model"].schema["examples"]


def test_an_empty_field_is_among_the_choices_of_a_select():
    assert None in params()["deepspeed"].schema["enum"]
    assert params()["deepspeed"].schema["values_display"]["null"] == "(empty)"
