"""What tasks hand one another is validated on the way in and dumped on the way out."""

from __future__ import annotations

import inspect
import json
from collections.abc import Sequence

import pytest
from pydantic import ValidationError

from sqltune.config.plan import RunPlan
from sqltune.contracts import ExportedModel, typed_task
from sqltune.records import installation
from sqltune.records.errors import OtherDatabase
from tests.exported import EXPORTED
from tests.plans import run_plan

MODEL = EXPORTED.model_dump()


class LazySequence(Sequence):
    """As Airflow hands on the outputs of a mapped task."""

    def __init__(self, *items: object) -> None:
        self.items = items

    def __getitem__(self, index):
        return self.items[index]

    def __len__(self) -> int:
        return len(self.items)


@typed_task
def layers(model: ExportedModel) -> int:
    return model.layers


@typed_task
def renamed(model: ExportedModel, path: str = "/elsewhere") -> ExportedModel:
    return model.model_copy(update={"adapter_path": path})


@typed_task
def total(models: list[ExportedModel]) -> int:
    return sum(m.layers for m in models)


@typed_task
def layers_if_any(model: ExportedModel | None = None) -> int:
    return model.layers if model else 0


@typed_task
def planned(plan: RunPlan) -> str:
    return plan.run_id


def test_an_argument_is_validated_by_its_annotation():
    assert layers(MODEL) == 14
    assert layers(model=MODEL) == 14


def test_a_model_passes_as_it_is():
    assert layers(ExportedModel(**MODEL)) == 14


def test_a_returned_model_is_dumped_to_json():
    assert json.loads(json.dumps(renamed(MODEL))) == MODEL | {"adapter_path": "/elsewhere"}


def test_a_mapped_tasks_outputs_become_a_list():
    assert total(LazySequence(MODEL, MODEL)) == 28


def test_no_argument_and_none_are_accepted_where_the_annotation_allows_them():
    assert layers_if_any() == 0
    assert layers_if_any(None) == 0


def test_a_task_with_a_plan_of_another_database_is_not_called(records):
    plan = run_plan(installation="another")
    with pytest.raises(OtherDatabase, match="is not the database that this run was planned with"):
        planned(plan.model_dump(mode="json"))


def test_a_task_with_a_plan_of_this_database_is_called(records):
    plan = run_plan(installation=installation.name())
    assert planned(plan.model_dump(mode="json")) == "r1"


@pytest.mark.parametrize("wrong", [{}, MODEL | {"layers": "many"}, MODEL | {"colour": "red"}])
def test_a_value_that_breaks_the_contract_is_refused(wrong):
    with pytest.raises(ValidationError):
        layers(wrong)


def test_airflow_sees_the_functions_own_name_and_parameters():
    assert renamed.__name__ == "renamed"
    assert list(inspect.signature(renamed).parameters) == ["model", "path"]
