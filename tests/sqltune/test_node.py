"""What is copied to the hosts."""

from __future__ import annotations

import asyncio
import io
import tarfile

import pytest

from sqltune import node
from sqltune.errors import OtherCode
from sqltune.node import bundle, push
from tests.plans import run_plan


@pytest.fixture
def names() -> set[str]:
    """Paths in the code folder of a host."""
    with tarfile.open(fileobj=io.BytesIO(bundle()[1])) as tar:
        return set(tar.getnames())


def test_the_same_files_give_the_same_version():
    assert bundle()[0] == bundle()[0]
    assert len(bundle()[0]) == 12


@pytest.mark.parametrize(
    "name",
    [
        "preflight.py",
        "serving.py",
        "front_door.py",
        "door/app.py",
        "model_servers/stack.py",
        "xtuner_host_shim.py",
        "sqltune/dataset/split.py",
        "sqltune/node_contracts/script.py",
        "sqltune/sql/prompt.py",
    ],
)
def test_the_scripts_and_what_they_import_are_copied(names, name):
    assert name in names


@pytest.mark.parametrize("package", ["operators", "tasks", "serving", "registry", "config"])
def test_what_runs_in_airflow_only_is_not_copied(names, package):
    assert not any(name.startswith(f"sqltune/{package}/") for name in names)


@pytest.mark.parametrize(("planned_with", "copies"), [("another", 1), (bundle()[0], 0)])
def test_a_script_is_called_with_the_scripts_of_this_machine(monkeypatch, planned_with, copies):
    """A run that was planned before an upgrade goes on with those of the new version."""
    copied = []

    async def push(site, host):
        copied.append(site.code_version)

    monkeypatch.setattr(node, "push", push)
    plan = run_plan(code_version=planned_with)
    site = asyncio.run(node.with_own_scripts(plan, plan.cluster.master))
    assert site == plan.model_copy(update={"code_version": bundle()[0]})
    assert copied == [bundle()[0]] * copies


def test_another_version_is_not_copied_under_the_plans_name():
    plan = run_plan(code_version="another")
    with pytest.raises(OtherCode, match="the run was planned with another: install one version of sqltune"):
        asyncio.run(push(plan, plan.cluster.master))
