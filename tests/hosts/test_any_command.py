"""The DAG at the top of docs/gang.md, run over real sshd."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import uuid
from types import ModuleType, SimpleNamespace

import pytest
from airflow.sdk.exceptions import TaskDeferred

from ssh_gang.model import Gang
from ssh_gang.recorder import RecorderRef
from tests.conftest import ROOT
from tests.hosts.gangs import remaining_processes

DAG_FILE = ROOT / "tests" / "ssh_gang" / "dags" / "any_command.py"


@pytest.fixture
def hello(sshds, monkeypatch):
    """The DAG's task; its two hosts are the test's."""
    for sshd in sshds:
        monkeypatch.setenv(f"AIRFLOW_CONN_GPU_HOST_{sshd.name.upper()}", os.environ[_variable(sshd)])
    return _load(DAG_FILE).dag.get_task("hello")


def _variable(sshd) -> str:
    return f"AIRFLOW_CONN_{sshd.conn_id.upper()}"


def _load(path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("any_command", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run_task(task) -> tuple[object, Gang]:
    """Run a task as Airflow does: execute, the trigger, and the method that its event goes to."""
    ti = SimpleNamespace(
        dag_id="any_command",
        task_id=task.task_id,
        run_id="manual",
        id=uuid.UUID(int=1 << 80),
        map_index=-1,
        max_tries=0,
        try_number=1,
    )
    with pytest.raises(TaskDeferred) as deferred:
        task.execute({"ti": ti})
    trigger = deferred.value.trigger
    [event] = asyncio.run(_events(trigger))
    resume = getattr(task, deferred.value.method_name)
    return resume({"ti": ti}, event), Gang.model_validate(trigger.gang)


async def _events(trigger) -> list[dict]:
    return [event.payload async for event in trigger.run()]


def test_any_command_runs_on_every_host_and_returns_the_first_hosts_last_line(hello, tmp_path):
    hello.recorder = RecorderRef(
        path="ssh_gang.folder_recorder.FolderRecorder",
        kwargs={"folder": str(tmp_path / "record"), "gang": "any_command"},
    )
    result, gang = run_task(hello)
    assert result == "node 0 of 2 says hello"
    recorder = hello.recorder.resolve()
    for rank, host in enumerate(["gpu_host_a", "gpu_host_b"]):
        log = recorder.log_path(gang.attempt, host)
        assert log.read_text() == f"node {rank} of 2 says hello\n"
    assert remaining_processes(gang) == []
