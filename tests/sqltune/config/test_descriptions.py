"""Every field that a person may set says what it means."""

from __future__ import annotations

import pytest

from sqltune.config.cluster import Cluster, Host, Keep, Serving
from sqltune.config.gate_rules import GateRules
from sqltune.config.recipe import Decoding, Recipe, Training
from sqltune.config.spec import RunSpec
from sqltune.node_contracts.serving import RequestLimits
from ssh_gang.model import Limits

MODELS = (
    *(Recipe, Training, Decoding, Cluster, Host, Serving, RequestLimits, Keep, Limits, GateRules, RunSpec),
)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_every_field_of_a_configuration_file_and_of_the_form_is_described(model):
    assert [name for name, field in model.model_fields.items() if not field.description] == []
