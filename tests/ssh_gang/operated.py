"""A gang's operator without hosts: its task's context, the events, what it records, a kill."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import uuid
from pathlib import Path
from types import SimpleNamespace

import pytest

from ssh_gang.errors import GangError
from ssh_gang.event import GangEvent
from ssh_gang.milestone import Milestone
from ssh_gang.operator import GangOperator
from ssh_gang.recorder import RecorderRef

RECORDER = RecorderRef(path="ssh_gang.folder_recorder.FolderRecorder", kwargs={"folder": "/x", "gang": "g"})


def operator(**arguments) -> GangOperator:
    given = {"hosts": ["a", "b"], "command": ["echo", "hello"]} | arguments
    return GangOperator(task_id="hello", **given)


def context(try_number: int = 1, max_tries: int = 2, map_index: int = -1) -> dict:
    ti = SimpleNamespace(
        dag_id="d",
        task_id="hello",
        run_id="r",
        id=uuid.UUID(int=(7 << 80) + 5),
        map_index=map_index,
        max_tries=max_tries,
        try_number=try_number,
    )
    return {"ti": ti}


def event(**fields) -> dict:
    given = {"ok": True, "attempt": "try1-x", "reason": "", "seconds": 1} | fields
    return GangEvent(**given).model_dump(mode="json")


class Recorded:
    """A folder recorder's reference, and the milestones that it was given."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "milestones.jsonl"
        self.ref = RECORDER.model_copy(update={"kwargs": {"folder": str(folder), "gang": "g"}})

    def __call__(self) -> list[tuple[str, Milestone]]:
        lines = [json.loads(line) for line in self.file.read_text().splitlines()]
        return [(line["attempt"], Milestone.model_validate(line["milestone"])) for line in lines]


async def killed() -> None:
    """Airflow's signal arrives, whose handler calls `on_kill`."""
    os.kill(os.getpid(), signal.SIGUSR1)
    await asyncio.Event().wait()


def execute_until_killed(task: GangOperator) -> None:
    before = signal.signal(signal.SIGUSR1, lambda *_: task.on_kill())
    try:
        with pytest.raises(GangError, match="killed while it started the gang"):
            task.execute(context())
    finally:
        signal.signal(signal.SIGUSR1, before)
