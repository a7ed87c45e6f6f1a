"""Triggers survive serialisation, name their attempt on a kill, and only close connections on cleanup."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import json
from types import SimpleNamespace

import pytest
from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance
from pydantic import ValidationError

from ssh_gang.errors import GangError, HostError
from ssh_gang.event import GangEvent, HostsFreeEvent
from ssh_gang.folder_recorder import FolderRecorder
from ssh_gang.hook import GangHook
from ssh_gang.milestone import Milestone
from ssh_gang.model import Gang, Limits, Member
from ssh_gang.recorder import RecorderRef
from ssh_gang.trigger import GangTrigger, HostsFreeTrigger
from ssh_gang.watch import Watch

GANG = Gang(
    name="d.t.r",
    attempt="try2",
    root="~/gangs",
    members=[Member(host="a", conn_id="a", argv=["true"], cwd="~/work")],
    limits=Limits(queue=0.05),
)
JSON = GANG.model_dump(mode="json")
RECORDER = {"path": "ssh_gang.folder_recorder.FolderRecorder", "kwargs": {"folder": "/x", "gang": "d.t.r"}}


def made_again(trigger):
    """The trigger as another triggerer makes it from what was serialised."""
    path, arguments = trigger.serialize()
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)(**arguments)


def first_event(trigger) -> dict:
    return asyncio.run(anext(trigger.run())).payload


def test_gang_trigger_survives_serialisation():
    started = Milestone(kind="started", at=1.0)
    again = made_again(GangTrigger(JSON, RECORDER, [started.model_dump(mode="json")]))
    assert [Milestone.model_validate(milestone) for milestone in again.milestones] == [started]
    assert Gang.model_validate(again.gang) == GANG
    assert RecorderRef.model_validate(again.recorder).kwargs["folder"] == "/x"


def test_hosts_free_trigger_survives_serialisation():
    assert Gang.model_validate(made_again(HostsFreeTrigger(JSON)).gang) == GANG


def test_gang_trigger_gives_the_watch_its_recorder_and_its_event_to_the_operator(monkeypatch):
    ended = GangEvent(ok=True, attempt="try2", reason="every rank ended with exit code 0", seconds=3)
    recorders = []

    def init(self, hook, log, recorder, launched):
        recorders.append(recorder)

    async def until_the_end(self):
        return ended

    monkeypatch.setattr(Watch, "__init__", init)
    monkeypatch.setattr(Watch, "until_the_end", until_the_end)
    assert GangEvent.model_validate(first_event(GangTrigger(JSON, RECORDER))) == ended
    assert isinstance(recorders[0], FolderRecorder)


def test_gang_trigger_closes_its_connections_before_its_event_is_taken(monkeypatch):
    closed = []

    async def until_the_end(self):
        return GangEvent(ok=True, attempt="try2", reason="every rank ended with exit code 0", seconds=3)

    async def close(self):
        closed.append(self.gang.name)

    async def first() -> None:
        events = GangTrigger(JSON).run()
        await anext(events)
        assert closed == ["d.t.r"]
        await events.aclose()

    monkeypatch.setattr(Watch, "until_the_end", until_the_end)
    monkeypatch.setattr(GangHook, "close", close)
    asyncio.run(first())


def test_on_kill_stops_its_own_attempt(monkeypatch):
    stopped = []

    async def stop(self, attempt):
        stopped.append((self.gang.name, attempt))

    monkeypatch.setattr(GangHook, "stop", stop)
    asyncio.run(GangTrigger(JSON).on_kill())
    assert stopped == [("d.t.r", "try2")]


@pytest.mark.parametrize(
    ("state", "expected"),
    [("failed", ["try2"]), (None, ["try2"]), ("deferred", []), (ConnectionError("no answer"), ["try2"])],
)
def test_on_kill_of_a_task_that_still_waits_stops_nothing(monkeypatch, state, expected):
    """Another triggerer has taken it over: the hosts work for that one now."""
    stopped = []

    async def stop(self, attempt):
        stopped.append(attempt)

    def get_task_states(dag_id, task_ids, run_ids, map_index):
        if isinstance(state, Exception):
            raise state
        return {"r": {"t": state}}

    monkeypatch.setattr(GangHook, "stop", stop)
    monkeypatch.setattr(RuntimeTaskInstance, "get_task_states", staticmethod(get_task_states))
    trigger = GangTrigger(JSON)
    trigger.task_instance = SimpleNamespace(dag_id="d", task_id="t", run_id="r", map_index=-1)
    asyncio.run(trigger.on_kill())
    assert stopped == expected


def test_on_kill_records_that_a_person_stopped_the_attempt(monkeypatch, tmp_path):
    async def stop(self, attempt):
        pass

    monkeypatch.setattr(GangHook, "stop", stop)
    asyncio.run(GangTrigger(JSON, RECORDER | {"kwargs": {"folder": str(tmp_path), "gang": "g"}}).on_kill())
    line = json.loads((tmp_path / "milestones.jsonl").read_text())
    assert (line["attempt"], line["milestone"]["kind"]) == ("try2", "killed")


def test_on_kill_stops_the_attempt_though_it_cannot_be_recorded(monkeypatch, tmp_path):
    stopped = []

    async def stop(self, attempt):
        stopped.append(attempt)

    monkeypatch.setattr(GangHook, "stop", stop)
    (tmp_path / "file").write_text("")
    kwargs = {"folder": str(tmp_path / "file"), "gang": "g"}
    asyncio.run(GangTrigger(JSON, RECORDER | {"kwargs": kwargs}).on_kill())
    assert stopped == ["try2"]


def test_a_trigger_ends_after_its_stop_although_it_is_cancelled_again_and_again(monkeypatch, tmp_path):
    """Airflow 3.3 does that once a second, from the user's click until the trigger has ended."""

    async def stop(self, attempt):
        await asyncio.sleep(0.5)

    async def run_trigger():
        """As Airflow does once a user has acted."""
        trigger = GangTrigger(JSON, RECORDER | {"kwargs": {"folder": str(tmp_path), "gang": "g"}})
        try:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait_for(trigger.on_kill(), timeout=30)
        finally:
            await trigger.cleanup()

    async def cancelled_again_and_again():
        running = asyncio.create_task(run_trigger())
        for _ in range(5):
            await asyncio.sleep(0.05)
            running.cancel("user action")
        await running

    monkeypatch.setattr(GangHook, "stop", stop)
    asyncio.run(cancelled_again_and_again())
    assert json.loads((tmp_path / "milestones.jsonl").read_text())["milestone"]["kind"] == "killed"


def test_on_kill_of_a_gang_that_cannot_be_stopped_leaves_it_to_the_teardown(monkeypatch):
    async def stop(self, attempt):
        raise GangError("processes are left: 1 on a")

    monkeypatch.setattr(GangHook, "stop", stop)
    asyncio.run(GangTrigger(JSON).on_kill())


def test_cleanup_stops_nothing(monkeypatch):
    async def stop(self, attempt):
        raise AssertionError("cleanup stopped the gang")

    monkeypatch.setattr(GangHook, "stop", stop)
    asyncio.run(GangTrigger(JSON).cleanup())


def test_hosts_free_trigger_reports_hosts_that_are_free(monkeypatch):
    async def wait_until_free(self):
        return None

    monkeypatch.setattr(GangHook, "wait_until_free", wait_until_free)
    assert HostsFreeEvent.model_validate(first_event(HostsFreeTrigger(JSON))).free


def test_hosts_free_trigger_names_the_limit_that_was_exceeded(monkeypatch):
    async def wait_until_free(self):
        await asyncio.sleep(60)

    monkeypatch.setattr(GangHook, "wait_until_free", wait_until_free)
    event = HostsFreeEvent.model_validate(first_event(HostsFreeTrigger(JSON)))
    assert not event.free
    assert "limit queue" in event.reason


def test_hosts_free_trigger_asks_again_after_a_host_did_not_answer(monkeypatch):
    answers = [HostError("a: does not answer"), None]

    async def wait_until_free(self):
        if error := answers.pop(0):
            raise error

    monkeypatch.setattr(GangHook, "wait_until_free", wait_until_free)
    monkeypatch.setattr("ssh_gang.trigger.RETRY_PAUSE", 0.001)
    assert HostsFreeEvent.model_validate(first_event(HostsFreeTrigger(JSON))).free


def test_recorder_ref_of_an_unknown_name_is_an_import_error():
    with pytest.raises(ImportError, match="has no 'Nobody'"):
        RecorderRef(path="ssh_gang.folder_recorder.Nobody").resolve()


def test_recorder_ref_takes_an_import_path_only():
    with pytest.raises(ValidationError):
        RecorderRef(path="os; rm")
