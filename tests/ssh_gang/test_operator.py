"""What the operators decide, without hosts: the gang, the trigger, the verdict on an event."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from datetime import timedelta

import pytest
from airflow.sdk.bases.operator import TriggerFailureReason
from airflow.sdk.exceptions import TaskDeferralTimeout, TaskDeferred

from ssh_gang.errors import GangError, HostsBusy
from ssh_gang.event import GangEvent, HostsFreeEvent
from ssh_gang.hook import GangHook
from ssh_gang.milestone import Milestone
from ssh_gang.model import Gang, Limits
from ssh_gang.operator import UNWATCHED, GangOperator, describe_failure
from ssh_gang.recorder import RecorderRef
from ssh_gang.resume import Decision
from ssh_gang.trigger import GangTrigger, HostsFreeTrigger
from tests.ssh_gang.operated import (
    RECORDER,
    context,
    event,
    execute_until_killed,
    operator,
)


def test_gang_is_named_after_dag_task_and_run_but_not_the_try():
    first, second = (operator().gang(context(number), f"try{number}") for number in (1, 2))
    assert first.name == second.name
    assert first.name.startswith("d.hello.r")


def test_gang_takes_its_fencing_token_from_the_time_in_the_task_instances_id():
    assert operator().gang(context(), "try1").fencing_token == 7


def test_gang_takes_its_generation_from_max_tries():
    assert operator().gang(context(max_tries=4), "try1").generation == 4


def test_gang_names_the_task_that_owns_it():
    owner = operator(installation="ours").gang(context(), "try1").owner
    assert owner == {"dag_id": "d", "task_id": "hello", "run_id": "r", "airflow": "ours"}


def test_gangs_of_a_mapped_task_have_each_a_name_and_its_index():
    gangs = [operator().gang(context(map_index=index), "try1") for index in (0, 1)]
    assert [g.name.startswith(f"d.hello_{index}.r.") for index, g in enumerate(gangs)] == [True, True]
    assert [g.owner["map_index"] for g in gangs] == ["0", "1"]
    assert {g.owner["task_id"] for g in gangs} == {"hello"}


def test_gang_of_two_installations_has_two_names():
    names = {operator(installation=name).gang(context(), "try1").name for name in ("one", "two")}
    assert len(names) == 2


def test_gang_runs_the_command_on_every_host_and_says_which_one_it_is():
    members = operator(env={"A": "1"}, files={"x.txt": "text"}).gang(context(), "try1").members
    assert [m.host for m in members] == ["a", "b"]
    assert [m.argv for m in members] == [["echo", "hello"]] * 2
    assert [m.env["GANG_NODE_RANK"] for m in members] == ["0", "1"]
    assert {m.env["GANG_NNODES"] for m in members} == {"2"}
    assert {m.env["A"] for m in members} == {"1"}
    assert {m.files["x.txt"] for m in members} == {"text"}


@pytest.mark.parametrize("change", [{"command": ["true"]}, {"env": {"A": "1"}}, {"files": {"x": "y"}}])
def test_gang_of_another_command_has_another_spec_hash(change):
    assert operator().gang(context(), "t").spec_hash != operator(**change).gang(context(), "t").spec_hash


def test_gang_of_another_try_has_the_same_spec_hash():
    assert operator().gang(context(1), "t1").spec_hash == operator().gang(context(2), "t2").spec_hash


def test_execute_defers_to_a_trigger_that_watches_the_gang(hook):
    with pytest.raises(TaskDeferred) as deferred:
        operator(recorder=RECORDER).execute(context())
    trigger = deferred.value.trigger
    assert isinstance(trigger, GangTrigger)
    assert Gang.model_validate(trigger.gang).attempt.startswith("try1-")
    assert RecorderRef.model_validate(trigger.recorder) == RECORDER
    assert deferred.value.method_name == "execute_complete"


def test_execute_hands_the_milestones_of_the_launch_to_the_trigger(hook, monkeypatch):
    started = Milestone(kind="started", at=1.0)
    hook.milestones = [started]
    with pytest.raises(TaskDeferred) as deferred:
        operator().execute(context())
    assert deferred.value.trigger.milestones == [started.model_dump(mode="json")]


def test_execute_that_finds_the_gang_running_notes_its_try(hook):
    with pytest.raises(TaskDeferred) as deferred:
        operator().execute(context(try_number=2))
    [milestone] = deferred.value.trigger.milestones
    assert (milestone["kind"], milestone["number"]) == ("reconnected", 2)


def test_execute_that_cannot_launch_records_why(hook, recorded):
    hook.launched = GangError("b: cannot be prepared: port 12345 is taken")
    with pytest.raises(GangError):
        operator(recorder=recorded.ref).execute(context())
    [(attempt, milestone)] = recorded()
    assert attempt.startswith("try1-")
    assert (milestone.kind, milestone.reason) == ("failed", "b: cannot be prepared: port 12345 is taken")


def test_execute_without_a_recorder_records_nothing(hook):
    with pytest.raises(TaskDeferred) as deferred:
        operator().execute(context())
    assert deferred.value.trigger.recorder is None


def test_execute_watches_the_attempt_that_already_runs(hook):
    running = operator().gang(context(), "try1-old")
    hook.launched = (Decision.RECONNECT, running)
    with pytest.raises(TaskDeferred) as deferred:
        operator().execute(context(try_number=2))
    assert Gang.model_validate(deferred.value.trigger.gang).attempt == "try1-old"


def test_execute_defers_longer_than_the_gang_may_take(hook):
    with pytest.raises(TaskDeferred) as deferred:
        operator(limits=Limits(total=100)).execute(context())
    assert deferred.value.timeout >= timedelta(seconds=100 + UNWATCHED)


def test_execute_on_busy_hosts_waits_for_them(hook):
    hook.launched = HostsBusy("a: other@try1 runs there")
    with pytest.raises(TaskDeferred) as deferred:
        operator(limits=Limits(queue=50)).execute(context())
    assert isinstance(deferred.value.trigger, HostsFreeTrigger)
    assert deferred.value.method_name == "execute_when_free"
    assert deferred.value.timeout == timedelta(seconds=50 + UNWATCHED)


def test_execute_when_free_starts_the_gang(hook):
    free = HostsFreeEvent(free=True, reason="its hosts are free").model_dump(mode="json")
    with pytest.raises(TaskDeferred) as deferred:
        operator().execute_when_free(context(), free)
    assert isinstance(deferred.value.trigger, GangTrigger)


def test_execute_when_free_fails_when_the_hosts_were_not_free_in_time(hook):
    late = HostsFreeEvent(free=False, reason="its hosts were not free for 1 s").model_dump(mode="json")
    with pytest.raises(GangError, match="not free for 1 s"):
        operator().execute_when_free(context(), late)


def test_execute_complete_returns_the_last_line_of_the_first_host(hook):
    hook.tail = "one\ntwo\n\n"
    assert operator().execute_complete(context(), event()) == "two"


def test_execute_complete_of_a_failed_gang_raises_its_reason(hook):
    failed = event(ok=False, reason="b rank 1: exit code 7", failed_host="b", failed_rank=1, tail="last line")
    with pytest.raises(GangError, match=r"(?s)b rank 1: exit code 7.*last lines of b rank 1 ---\nlast line"):
        operator().execute_complete(context(), failed)


def test_execute_complete_without_evidence_marks_the_gang_refused(hook):
    class Picky(GangOperator):
        def judge(self, gang, event, output):
            raise GangError("no evidence")

    with pytest.raises(GangError, match="no evidence"):
        Picky(task_id="hello", hosts=["a"], command=["true"]).execute_complete(context(), event())
    assert hook.refused == 1


def test_execute_complete_of_a_failed_gang_records_what_a_retry_does(hook, recorded, monkeypatch):
    async def after_failure(self):
        return "a retry starts again"

    monkeypatch.setattr(GangOperator, "after_failure", after_failure)
    with pytest.raises(GangError):
        operator(recorder=recorded.ref).execute_complete(context(), event(ok=False, reason="b: exit code 7"))
    [(attempt, milestone)] = recorded()
    assert (attempt, milestone.reason, milestone.advice) == (
        "try1-x",
        "b: exit code 7",
        "a retry starts again",
    )


def test_execute_complete_fails_with_the_gangs_reason_though_it_cannot_be_recorded(hook, tmp_path):
    (tmp_path / "file").write_text("")
    nowhere = RECORDER.model_copy(update={"kwargs": {"folder": str(tmp_path / "file"), "gang": "g"}})
    with pytest.raises(GangError, match="b: exit code 7"):
        operator(recorder=nowhere).execute_complete(context(), event(ok=False, reason="b: exit code 7"))


def test_execute_complete_refuses_an_event_with_unknown_fields(hook):
    with pytest.raises(ValueError, match="surprise"):
        operator().execute_complete(context(), event() | {"surprise": 1})


def test_resume_execution_after_a_timeout_stops_every_attempt(hook):
    error = {"error": TriggerFailureReason.TRIGGER_TIMEOUT}
    with pytest.raises(TaskDeferralTimeout):
        operator().resume_execution("__fail__", error, context())
    assert [attempt for _, attempt in hook.stopped] == [None]


def test_on_kill_stops_the_attempt_that_this_task_started(hook):
    task = operator()
    with pytest.raises(TaskDeferred):
        task.execute(context())
    task.on_kill()
    [(_, attempt)] = hook.stopped
    assert attempt.startswith("try1-")


def test_on_kill_by_a_signal_while_the_gang_is_started_cancels_the_launch(hook, monkeypatch):
    """Airflow calls it from the signal's handler, in the thread whose event loop runs the launch."""
    cancelled = []

    async def launch(self, prepare=None):
        threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGUSR1)).start()
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            cancelled.append(self.gang.attempt)
            raise

    monkeypatch.setattr(GangHook, "launch", launch)
    execute_until_killed(operator())
    assert len(cancelled) == 1


def test_on_kill_before_anything_was_started_stops_nothing(hook):
    operator().on_kill()
    assert hook.stopped == []


def test_describe_failure_leaves_out_what_is_not_known():
    ended = GangEvent(ok=False, attempt="t", reason="not done after 1 s (limit total)", seconds=1)
    assert describe_failure(ended, "") == "not done after 1 s (limit total)"


def test_describe_failure_lists_hint_and_first_errors():
    ended = GangEvent(
        ok=False, attempt="t", reason="a: exit code 1", seconds=1, first_errors=("[a] ValueError: no",)
    )
    assert describe_failure(ended, "a retry starts again").splitlines() == [
        "a: exit code 1",
        "a retry starts again",
        "first error: [a] ValueError: no",
    ]
