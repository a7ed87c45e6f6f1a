"""The trigger form's fields take their ranges from the recipe's."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from sqltune.config.json_schema import flat_schema
from sqltune.config.loading import describe, load_recipe
from sqltune.config.recipe import Recipe, Training
from sqltune.config.spec import TRAINING_FIELDS, RunSpec

OVERRIDES = [*((Training, name) for name in sorted(TRAINING_FIELDS)), (Recipe, "eval_questions")]


def test_every_field_has_a_title_and_a_description():
    for name, field in RunSpec.model_fields.items():
        assert field.title, name
        assert field.description, name


@pytest.mark.parametrize(("model", "name"), OVERRIDES)
def test_a_field_has_the_range_of_the_recipes_setting(model, name):
    assert {*model.model_fields[name].metadata} <= {*RunSpec.model_fields[name].metadata}


@pytest.mark.parametrize(("model", "name"), OVERRIDES)
def test_a_field_has_the_description_of_the_recipes_setting(model, name):
    description = RunSpec.model_fields[name].description
    assert description == f"{model.model_fields[name].description} Empty: the preset's or the recipe's value."


def test_a_field_without_choices_has_an_example():
    for name, prop in RunSpec.model_json_schema()["properties"].items():
        schema = flat_schema(prop)
        is_select = "enum" in schema or name in ("recipe", "cluster", "preset") or "boolean" in schema["type"]
        assert is_select or prop.get("examples"), name


@pytest.mark.parametrize("name", [name for name, f in RunSpec.model_fields.items() if f.examples])
def test_an_example_is_allowed(name):
    for example in RunSpec.model_fields[name].examples:
        assert getattr(RunSpec(**{name: example}), name) == example


def test_a_preset_fills_in_empty_fields():
    assert RunSpec().filled_in(RunSpec(eval_questions=30, promote="hold")).promote == "hold"


def test_the_forms_own_value_wins_over_the_presets():
    assert RunSpec(eval_questions=40).filled_in(RunSpec(eval_questions=30)).eval_questions == 40


@pytest.mark.parametrize(
    ("form", "preset"), [({"max_epochs": 2}, {"max_steps": 20}), ({"max_steps": 9}, {"max_epochs": 3})]
)
def test_steps_and_epochs_are_one_setting(form, preset):
    filled = RunSpec(**form).filled_in(RunSpec(**preset))
    assert (filled.max_steps, filled.max_epochs) == (form.get("max_steps"), form.get("max_epochs"))


def test_a_presets_epochs_win_over_the_recipes_steps():
    recipe = load_recipe("lab_tiny").training
    training = RunSpec().filled_in(RunSpec(max_epochs=3)).training(recipe)
    assert (training.max_steps, training.max_epochs) == (None, 3)


def test_a_preset_does_not_choose_recipe_cluster_or_revision():
    chosen = RunSpec(recipe="lab_tiny", cluster="gpu_2x4").filled_in(RunSpec(dataset_revision="dev"))
    assert (chosen.recipe, chosen.cluster, chosen.dataset_revision) == ("lab_tiny", "gpu_2x4", None)


def test_a_value_outside_the_range_is_refused():
    with pytest.raises(ValidationError, match="learning_rate"):
        RunSpec(learning_rate=10)


def test_training_settings_are_the_recipes_where_the_form_is_empty():
    recipe = load_recipe("lab_tiny").training
    assert RunSpec().training(recipe) == recipe


def test_training_settings_are_the_forms_where_it_has_a_value():
    recipe = load_recipe("lab_tiny").training
    assert RunSpec(max_steps=20, eval_questions=30).training(recipe) == recipe.model_copy(
        update={"max_steps": 20}
    )


def test_a_strategy_and_the_fastest_one_exclude_each_other():
    with pytest.raises(ValidationError) as e:
        RunSpec(deepspeed="zero2", probe=True)
    assert describe(e.value) == [
        "probe: True is not allowed: value error, it chooses the strategy, and deepspeed is zero2: leave one "
        "of them empty"
    ]


def test_a_strategy_is_allowed_where_the_fastest_one_is_not_wanted():
    assert RunSpec(deepspeed="zero2", probe=False).deepspeed == "zero2"


@pytest.mark.parametrize(
    ("form", "preset", "filled"),
    [
        ({"probe": True}, {"deepspeed": "zero2"}, (None, True)),
        ({"deepspeed": "zero2"}, {"probe": True}, ("zero2", None)),
        ({"probe": False}, {"deepspeed": "zero2"}, ("zero2", False)),
        ({}, {"probe": True}, (None, True)),
    ],
)
def test_a_strategy_and_the_fastest_one_are_one_setting(form, preset, filled):
    spec = RunSpec(**form).filled_in(RunSpec(**preset))
    assert (spec.deepspeed, spec.probe) == filled


def test_a_strategy_on_the_form_wins_over_the_recipes_probe():
    recipe = load_recipe("lab_tiny").training.model_copy(update={"probe": True})
    assert RunSpec().training(recipe).probe
    assert not RunSpec(deepspeed="zero2").training(recipe).probe
