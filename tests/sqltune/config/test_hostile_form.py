"""A thousand hostile forms: each is refused with its field's name, or means what it says and no more."""

from __future__ import annotations

import ast
import shlex
from datetime import UTC, datetime

import pytest
from airflow.sdk.definitions.param import ParamsDict

from sqltune import node
from sqltune.config.form import params
from sqltune.config.spec import RunSpec
from sqltune.dataset import hub
from sqltune.errors import ConfigError
from sqltune.node_contracts.dataset import FETCH_DATASET
from sqltune.operators.train import TrainOperator
from sqltune.tasks.dataset import _request
from sqltune.tasks.planning import make_plan
from ssh_gang.commands import command_line
from tests.hostile_values import MARK, hostile_forms, hostile_values, is_harmless, refusal
from tests.sqltune.operators.test_train import DATASET

FORMS = 1000
NOW = datetime(2026, 11, 30, tzinfo=UTC)
PINNED = hub.Pinned("c0ffee" + 34 * "0", NOW)


@pytest.fixture
def checked(records, monkeypatch):
    """Takes a form as a run does: by the schema of the DAG's params, then by the task `plan`."""
    monkeypatch.setenv("SQLTUNE_LAB_HUB", "http://127.0.0.1:9")
    monkeypatch.setattr(hub, "pin", lambda *_: PINNED)
    schema = ParamsDict(params())

    def check(form: dict[str, object]):
        """The plan of a form; else what refuses it."""
        if said := refusal(form, schema):
            return None, said
        try:
            return make_plan(form, "manual__1", NOW, "code1"), ""
        except ConfigError as e:
            return None, str(e)

    return check


def test_a_thousand_forms_are_the_same_each_time():
    assert list(map(repr, hostile_forms(FORMS))) == list(map(repr, hostile_forms(FORMS)))
    assert list(map(repr, hostile_forms(FORMS))) != list(map(repr, hostile_forms(FORMS, seed=1)))
    assert {name for form in hostile_forms(FORMS) for name in form} == set(RunSpec.model_fields)


def test_each_form_is_refused_with_its_fields_name_or_is_a_plan(checked):
    accepted = {}
    for form in hostile_forms(FORMS):
        [(name, value)] = form.items()
        plan, said = checked(form)
        if plan is None:
            assert name in said, form
        else:
            assert_no_more_than_an_argument(plan)
            accepted.setdefault(name, []).append(value)
    harmless = {
        name: [value for value in values if not is_harmless(value)] for name, values in accepted.items()
    }
    assert {name: values for name, values in harmless.items() if values} == {}
    # A test in which everything is refused for another reason would prove nothing.
    assert sum(map(len, accepted.values())) > 20


def assert_no_more_than_an_argument(plan) -> None:
    """What runs on the hosts has as many words as it should, and each is what the plan says."""
    operator = TrainOperator(
        task_id="train", plan=plan.model_dump(mode="json"), master_addr="10.0.0.1", datasets=[DATASET]
    )
    for member in operator.members(plan, "try1-ab"):
        assert shlex.split(command_line(member)) == member.argv
        config = next(text for name, text in member.files.items() if name.startswith("config/"))
        ast.parse(config)
        assert MARK not in config
    host = plan.cluster.master
    request = _request(plan, host)
    command = node._command(plan, FETCH_DATASET, request, 60, {})
    *_, last = command.rstrip("\n").split("exec timeout ")
    program, file, argument = FETCH_DATASET.argv(plan.code_dir, request)
    assert shlex.split(last)[2:] == [*program.split(), file, argument]
    assert MARK not in command


@pytest.mark.parametrize("name", RunSpec.model_fields)
def test_no_field_takes_a_value_that_a_shell_or_a_template_would_run(name, checked):
    values = [value for value, _ in zip(hostile_values(), range(400), strict=False) if MARK in repr(value)]
    assert len(values) > 40
    for value in values[:12]:
        plan, said = checked({name: value})
        assert plan is None, value
        assert name in said


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("base_model", "~/../root"),
        ("base_model", "/code/../etc"),
        ("dataset_revision", "a/../../b"),
        ("dataset_repo", "team/.."),
        ("dataset_repo", "team/表"),
        ("dataset_repo", "a/" + 97 * "b"),
    ],
)
def test_a_name_that_leads_elsewhere_is_refused(name, value, checked):
    plan, said = checked({name: value})
    assert plan is None
    assert name in said
