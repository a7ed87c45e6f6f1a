"""What tasks hand one another is validated on the way in and dumped on the way out."""

from __future__ import annotations

import inspect
import json
from collections.abc import Sequence

import pytest
from pydantic import ValidationError

from sqltune.config.plan import RunPlan
from sqltune.contracts import Adapter, typed_task
from sqltune.records import installation
from sqltune.records.errors import OtherDatabase
from tests.plans import run_plan

ADAPTER = {"adapter_path": "/code/adapter", "layers": 14, "checkpoint_hash": "ab", "adapter_hash": "cd"}


class LazySequence(Sequence):
    """As Airflow hands on the outputs of a mapped task."""

    def __init__(self, *items: object) -> None:
        self.items = items

    def __getitem__(self, index):
        return self.items[index]

    def __len__(self) -> int:
        return len(self.items)


@typed_task
def layers(adapter: Adapter) -> int:
    return adapter.layers


@typed_task
def renamed(adapter: Adapter, path: str = "/elsewhere") -> Adapter:
    return adapter.model_copy(update={"adapter_path": path})


@typed_task
def total(adapters: list[Adapter]) -> int:
    return sum(a.layers for a in adapters)


@typed_task
def layers_if_any(adapter: Adapter | None = None) -> int:
    return adapter.layers if adapter else 0


@typed_task
def planned(plan: RunPlan) -> str:
    return plan.run_id


def test_an_argument_is_validated_by_its_annotation():
    assert layers(ADAPTER) == 14
    assert layers(adapter=ADAPTER) == 14


def test_a_model_passes_as_it_is():
    assert layers(Adapter(**ADAPTER)) == 14


def test_a_returned_model_is_dumped_to_json():
    assert json.loads(json.dumps(renamed(ADAPTER))) == ADAPTER | {"adapter_path": "/elsewhere"}


def test_a_mapped_tasks_outputs_become_a_list():
    assert total(LazySequence(ADAPTER, ADAPTER)) == 28


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


@pytest.mark.parametrize("wrong", [{}, ADAPTER | {"layers": "many"}, ADAPTER | {"colour": "red"}])
def test_a_value_that_breaks_the_contract_is_refused(wrong):
    with pytest.raises(ValidationError):
        layers(wrong)


def test_airflow_sees_the_functions_own_name_and_parameters():
    assert renamed.__name__ == "renamed"
    assert list(inspect.signature(renamed).parameters) == ["adapter", "path"]
