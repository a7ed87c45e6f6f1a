"""The conversion runs on the serving host, and hands on what its script reports."""

from __future__ import annotations

import pytest

from sqltune.node_contracts.adapter import Adapter, ConvertRequest
from sqltune.operators.convert import ConvertAdapterOperator
from ssh_gang.errors import GangError
from tests.plans import run_plan

TRAINED = {
    "config": "~/code/runs/r1/train/try1/config/lab_lora.py",
    "checkpoint": "~/code/runs/r1/train/try1/iter_4.pth",
    "steps": 4,
    "loss": 1.0,
    "seconds": 10.0,
    "launch_skew": 0.01,
    "launch_skew_error": 0.001,
}
ADAPTER = Adapter(adapter_path="/code/adapter", layers=14, checkpoint_hash="ab")


@pytest.fixture
def operator():
    plan = run_plan().model_dump(mode="json")
    return ConvertAdapterOperator(task_id="convert_adapter", plan=plan, trained=TRAINED)


def test_it_runs_on_the_serving_host_alone(operator):
    (member,) = operator.members(run_plan(), "try1")
    assert member.host == "host-a"
    request = ConvertRequest.model_validate_json(member.argv[-1])
    assert request.checkpoint == TRAINED["checkpoint"]
    assert request.world_size == 2


def test_the_adapter_is_what_the_script_reports(operator):
    assert operator.judge(None, None, f"noise\nRESULT {ADAPTER.model_dump_json()}\n") == ADAPTER


def test_a_report_that_lacks_a_field_is_refused(operator):
    with pytest.raises(GangError, match="layers: Field required"):
        operator.judge(None, None, 'RESULT {"adapter_path": "/x", "checkpoint_hash": "ab"}')
