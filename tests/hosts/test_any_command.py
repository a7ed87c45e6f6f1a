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


def context(task) -> dict[str, object]:
    """What Airflow gives a task."""
    ti = SimpleNamespace(
        dag_id="any_command",
        task_id=task.task_id,
        run_id="manual",
        id=uuid.UUID(int=1 << 80),
        map_index=-1,
        max_tries=0,
        try_number=1,
    )
    return {"ti": ti}


def run_task(task) -> tuple[object, Gang]:
    """Run a task as Airflow does: execute, the trigger, and the method that its event goes to."""
    with pytest.raises(TaskDeferred) as deferred:
        task.execute(context(task))
    trigger = deferred.value.trigger
    [event] = asyncio.run(_events(trigger))
    resume = getattr(task, deferred.value.method_name)
    return resume(context(task), event), Gang.model_validate(trigger.gang)


async def _events(trigger) -> list[dict]:
    return [event.payload async for event in trigger.run()]


def recorder_in(folder) -> RecorderRef:
    """A recorder that keeps everything in files."""
    return RecorderRef(
        path="ssh_gang.folder_recorder.FolderRecorder",
        kwargs={"folder": str(folder / "record"), "gang": "any_command"},
    )


def test_any_command_runs_on_every_host_and_returns_the_first_hosts_last_line(hello, tmp_path):
    hello.recorder = recorder_in(tmp_path)
    result, gang = run_task(hello)
    assert result == "node 0 of 2 says hello"
    recorder = hello.recorder.resolve()
    for rank, host in enumerate(["gpu_host_a", "gpu_host_b"]):
        log = recorder.log_path(gang.attempt, host)
        assert log.read_text() == f"node {rank} of 2 says hello\n"
    assert remaining_processes(gang) == []


def test_a_patient_task_needs_no_trigger_for_a_command_that_ends_at_once(hello, tmp_path):
    hello.recorder, hello.patience = recorder_in(tmp_path), 60.0
    assert hello.execute(context(hello)) == "node 0 of 2 says hello"
    [log] = (tmp_path / "record").rglob("*gpu_host_b*")
    assert log.read_text() == "node 1 of 2 says hello\n"


def test_a_trigger_goes_on_where_the_patience_of_the_task_ended(hello, tmp_path):
    released = tmp_path / "released"
    hello.command = ["bash", "-c", f"echo begun; until [ -e {released} ]; do sleep 0.05; done; echo done"]
    hello.recorder, hello.patience = recorder_in(tmp_path), 0.5
    with pytest.raises(TaskDeferred) as deferred:
        hello.execute(context(hello))
    released.touch()
    [event] = asyncio.run(_events(deferred.value.trigger))
    assert hello.execute_complete(context(hello), event) == "done"
    gang = Gang.model_validate(deferred.value.trigger.gang)
    assert hello.recorder.resolve().log_path(gang.attempt, "gpu_host_a").read_text() == "begun\ndone\n"
