"""The DAG with which docs/gang.md begins, on real hosts."""

from __future__ import annotations

import asyncio
import re
import socket
import uuid
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import TaskDeferred

from tests.conftest import ROOT


def test_first_dag_of_the_page_runs_its_command_on_every_host(sshds, tmp_path, monkeypatch):
    for name, host in zip(("GPU_A", "GPU_B"), sshds, strict=True):
        (connection,) = host.connection(tmp_path).values()
        monkeypatch.setenv(f"AIRFLOW_CONN_{name}", connection)
    task = first_dag(ROOT / "docs" / "gang.md").get_task("hello")
    result = run(task, task_context())
    assert result == f"node 0 of 2 on {socket.gethostname()}"
    (output,) = sshds[1].folder.glob("home/ssh_gang/gangs/*/output")
    assert output.read_text() == f"node 1 of 2 on {socket.gethostname()}\n"


def first_dag(page) -> Any:
    """The DAG of the page's first block of Python."""
    code = re.search(r"```python\n(.*?)```", page.read_text(), re.DOTALL)[1]
    assert sum(bool(line.strip()) for line in code.splitlines()) <= 10
    names: dict[str, Any] = {}
    exec(compile(code, str(page), "exec"), names)
    return names["hello_gang"]()


def task_context() -> dict[str, Any]:
    ti = SimpleNamespace(
        dag_id="hello_gang",
        task_id="hello",
        run_id="manual",
        id=uuid.uuid4(),
        map_index=-1,
        max_tries=0,
        try_number=1,
    )
    return {"ti": ti}


def run(task, context) -> Any:
    """The task's three parts, as a worker, the triggerer and a worker run them."""
    with pytest.raises(TaskDeferred) as deferred:
        task.execute(context)
    (event,) = asyncio.run(events(deferred.value.trigger))
    return getattr(task, deferred.value.method_name)(context, event.payload)


async def events(trigger) -> list[Any]:
    return [event async for event in trigger.run()]
