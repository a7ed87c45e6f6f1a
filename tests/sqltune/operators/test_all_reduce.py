"""The all-reduce is judged by what rank 0 reports."""

from __future__ import annotations

import pytest

from sqltune.operators.all_reduce import AllReduceOperator
from ssh_gang.errors import GangError
from tests.plans import run_plan

REPORT = "all-reduce of 1.0 MiB over 2 ranks with gloo: 0.01 s"


@pytest.fixture
def operator():
    plan = run_plan().model_dump(mode="json")
    return AllReduceOperator(task_id="all_reduce", plan=plan, master_addr="10.0.0.1")


def test_the_report_of_a_sum_over_all_ranks_is_the_result(operator):
    assert operator.judge(None, None, f"noise\n[rank 0]:{REPORT}\n") == REPORT


def test_a_sum_over_fewer_ranks_is_a_failure(operator):
    with pytest.raises(GangError, match="over 1 ranks .*: expected 2 ranks"):
        operator.judge(None, None, REPORT.replace("2 ranks", "1 ranks"))


def test_a_log_without_a_report_is_a_failure(operator):
    with pytest.raises(GangError, match="rank 0 reported no sum"):
        operator.judge(None, None, "noise\n")


def test_it_runs_on_every_host(operator):
    assert [m.host for m in operator.members(run_plan(), "try1")] == ["host-a", "host-b"]
