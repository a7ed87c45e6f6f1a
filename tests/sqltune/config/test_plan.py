"""The run plan, as tasks hand it on."""

from __future__ import annotations

from sqltune.config.plan import RunPlan
from tests.plans import run_plan


def test_a_plan_survives_xcom():
    plan = run_plan()
    assert RunPlan.model_validate(plan.model_dump(mode="json")) == plan


def test_a_plan_of_before_there_were_engines_goes_on_with_fastchats():
    """Its base model was evaluated on that one, and the candidate is compared with it."""
    values = run_plan().model_dump(mode="json")
    del values["cluster"]["serving"]["engine"]
    assert RunPlan.model_validate(values).cluster.serving.engine == "fastchat"
    assert "engine" not in values["cluster"]["serving"]
