"""A task that watches its gang itself at first, and what a kill does meanwhile."""

from __future__ import annotations

import asyncio

import pytest
from airflow.sdk.exceptions import TaskDeferred

from ssh_gang.errors import GangError
from ssh_gang.event import GangEvent
from ssh_gang.hook import GangHook
from ssh_gang.milestone import Milestone
from ssh_gang.operator import GangOperator
from ssh_gang.watch import Watch
from tests.ssh_gang.operated import (
    context,
    execute_until_killed,
    killed,
)


class PatientOperator(GangOperator):
    """Watches the gang for a minute before it defers."""

    patience = 60.0


def patient(**arguments) -> PatientOperator:
    return PatientOperator(task_id="hello", hosts=["a", "b"], command=["echo", "hello"], **arguments)


def test_a_gang_that_ends_while_the_task_is_patient_is_judged_without_a_deferral(hook, monkeypatch):
    async def until_the_end(self):
        return GangEvent(ok=True, attempt=self.gang.attempt, reason="", seconds=1)

    monkeypatch.setattr(Watch, "until_the_end", until_the_end)
    hook.tail = "one\ntwo\n"
    assert patient().execute(context()) == "two"


def test_a_gang_that_fails_while_the_task_is_patient_fails_the_task(hook, monkeypatch):
    async def until_the_end(self):
        return GangEvent(ok=False, attempt=self.gang.attempt, reason="b: exit code 7", seconds=1)

    monkeypatch.setattr(Watch, "until_the_end", until_the_end)
    with pytest.raises(GangError, match="b: exit code 7"):
        patient().execute(context())


def test_a_gang_that_outlasts_the_patience_is_handed_to_a_trigger(hook, monkeypatch):
    async def until_the_end(self):
        await asyncio.Event().wait()

    monkeypatch.setattr(Watch, "until_the_end", until_the_end)
    monkeypatch.setattr(PatientOperator, "patience", 0.01)
    started = Milestone(kind="started", at=1.0)
    hook.milestones = [started]
    with pytest.raises(TaskDeferred) as deferred:
        patient().execute(context())
    assert deferred.value.trigger.milestones == [started.model_dump(mode="json")]
    assert hook.stopped == []


def test_on_kill_by_a_signal_while_the_task_watches_stops_the_attempt(hook, monkeypatch):
    async def until_the_end(self):
        await killed()

    monkeypatch.setattr(Watch, "until_the_end", until_the_end)
    execute_until_killed(patient())
    [(_, attempt)] = hook.stopped
    assert attempt.startswith("try1-")


def test_on_kill_by_a_signal_while_the_connections_are_closed_stops_the_attempt(hook, monkeypatch):
    """The patience is over, or the gang has ended: nothing watches it any more."""
    until_closed = iter([killed])

    async def until_the_end(self):
        await asyncio.Event().wait()

    async def close(self):
        for wait in until_closed:
            await wait()

    monkeypatch.setattr(Watch, "until_the_end", until_the_end)
    monkeypatch.setattr(PatientOperator, "patience", 0.01)
    monkeypatch.setattr(GangHook, "close", close)
    execute_until_killed(patient())
    [(_, attempt)] = hook.stopped
    assert attempt.startswith("try1-")


def test_a_kill_while_the_task_watches_is_recorded(hook, recorded, monkeypatch):
    async def until_the_end(self):
        await killed()

    monkeypatch.setattr(Watch, "until_the_end", until_the_end)
    execute_until_killed(patient(recorder=recorded.ref))
    [(attempt, milestone)] = recorded()
    assert attempt.startswith("try1-")
    assert milestone.kind == "killed"
