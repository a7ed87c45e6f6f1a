"""The all-reduce is judged by what rank 0 reports."""

from __future__ import annotations

import pytest

from sqltune.node_contracts.all_reduce import AllReduceResponse
from sqltune.operators.all_reduce import AllReduceOperator
from ssh_gang.errors import GangError
from tests.plans import run_plan

MEASURED = AllReduceResponse(backend="gloo", world_size=2, mebibytes=16, seconds=0.5)


@pytest.fixture
def operator():
    plan = run_plan().model_dump(mode="json")
    return AllReduceOperator(task_id="all_reduce", plan=plan, master_addr="10.0.0.1")


def result(measured: AllReduceResponse) -> str:
    return f"RESULT {measured.model_dump_json()}"


def test_the_report_of_a_sum_over_all_ranks_is_the_result(operator):
    assert operator.judge(None, None, f"noise\n[rank 0]:{result(MEASURED)}\n") == str(MEASURED)


def test_a_sum_over_fewer_ranks_is_a_failure(operator):
    with pytest.raises(GangError, match="over 1 ranks .*: expected 2 ranks"):
        operator.judge(None, None, result(MEASURED.model_copy(update={"world_size": 1})))


def test_a_log_without_a_report_is_a_failure(operator):
    with pytest.raises(GangError, match="all_reduce.py ended with 0 and printed no result"):
        operator.judge(None, None, "noise\n")


def test_it_runs_on_every_host(operator):
    assert [m.host for m in operator.members(run_plan(), "try1")] == ["host-a", "host-b"]
