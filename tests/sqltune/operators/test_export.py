"""The export runs on the serving host, and hands on what its script reports."""

from __future__ import annotations

import asyncio

import pytest

from sqltune import node
from sqltune.node_contracts.export import ExportRequest
from sqltune.operators.export import ExportModelOperator
from ssh_gang import transfer
from ssh_gang.errors import GangError
from tests.exported import EXPORTED, TRAINED
from tests.plans import run_plan


@pytest.fixture
def operator():
    plan = run_plan().model_dump(mode="json")
    return ExportModelOperator(task_id="export_model", plan=plan, trained=TRAINED.model_dump())


def test_it_runs_on_the_serving_host_alone(operator):
    (member,) = operator.members(run_plan(), "try1")
    assert member.host == "host-a"


def test_it_exports_the_checkpoint_of_all_ranks_over_the_plans_base_model(operator):
    (member,) = operator.members(run_plan(), "try1")
    assert ExportRequest.model_validate_json(member.argv[-1]) == ExportRequest(
        config=TRAINED.config,
        checkpoint=TRAINED.checkpoint,
        world_size=2,
        base_model="~/models/base",
        adapter="~/code/runs/r1/adapter",
        merged="~/code/runs/r1/merged",
    )


def test_a_run_that_trained_during_an_upgrade_is_exported_by_the_new_scripts(operator, monkeypatch):
    pushed = []

    async def push(site, host):
        pushed.append((site.code_version, host.name))

    async def copy(source, target, folder):
        return 1

    monkeypatch.setattr(node, "push", push)
    monkeypatch.setattr(transfer, "copy", copy)
    asyncio.run(operator.prepare(None))
    version, _ = node.bundle()
    assert pushed == [(version, "host-a")]
    (member,) = operator.members(operator.run_plan, "try1")
    assert member.argv[1] == f"~/code/code/{version}/export_model.py"
    assert member.env["PYTHONPATH"] == f"~/code/code/{version}"


def test_the_model_is_what_the_script_reports(operator):
    assert operator.judge(None, None, f"noise\nRESULT {EXPORTED.model_dump_json()}\n") == EXPORTED


def test_a_report_that_lacks_a_field_is_refused(operator):
    with pytest.raises(GangError, match="layers: Field required"):
        operator.judge(None, None, f"RESULT {EXPORTED.model_dump_json(exclude={'layers'})}")
