"""The merge runs on the serving host, and hands on what its script reports."""

from __future__ import annotations

import pytest

from sqltune.node_contracts.adapter import MergedModel, MergeRequest
from sqltune.operators.merge import MergeAdapterOperator
from tests.plans import run_plan

ADAPTER = {"adapter_path": "/code/adapter", "layers": 14, "checkpoint_hash": "ab"}
MERGED = MergedModel(merged_path="/code/merged", model_hash="cd", largest_difference=0.001)


@pytest.fixture
def operator():
    return MergeAdapterOperator(
        task_id="merge_adapter", plan=run_plan().model_dump(mode="json"), adapter=ADAPTER
    )


def test_it_merges_the_adapter_into_the_plans_base_model(operator):
    (member,) = operator.members(run_plan(), "try1")
    assert member.host == "host-a"
    assert MergeRequest.model_validate_json(member.argv[-1]) == MergeRequest(
        base_model="~/models/base", adapter="/code/adapter", merged="~/code/runs/r1/merged"
    )


def test_the_merged_model_is_what_the_script_reports(operator):
    assert operator.judge(None, None, f"RESULT {MERGED.model_dump_json()}\n") == MERGED
