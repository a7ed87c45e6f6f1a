"""The trigger form's fields take their ranges from the recipe's."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from sqltune.config.loading import load_recipe
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
    assert description == f"{model.model_fields[name].description} Empty: the recipe's value."


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
