"""Milestones of a run's gangs."""

from __future__ import annotations

import pytest

from sqltune.records import milestones, runs
from sqltune.records.recorder import RunRecorder
from ssh_gang.event import GangEvent
from ssh_gang.milestone import HostCommand, Milestone
from tests.plans import run_plan

END = GangEvent(ok=False, attempt="try1", reason="b rank 3: exit code 1", failed_host="b", seconds=9.5)


@pytest.fixture(autouse=True)
def run(engine):
    runs.put_plan(run_plan())


def put(milestone: Milestone, attempt: str = "try1", task: str = "train") -> None:
    RunRecorder.ref("r1", f"dag.{task}.r1", task).resolve().milestone(attempt, milestone)


@pytest.mark.parametrize(
    "milestone",
    [
        Milestone(kind="prepared", at=1.5, commands=(HostCommand(host="a", cwd="~", command="true"),)),
        Milestone(kind="ranks_started", at=2.25, launch_skew=0.002, launch_skew_error=0.001),
        Milestone(kind="ended", at=3.125, end=END),
        Milestone(kind="checkpoint", at=4.0, host="a", number=20),
    ],
    ids=lambda milestone: milestone.kind,
)
def test_a_milestone_is_read_back_whole(milestone):
    put(milestone)
    [found] = milestones.of_run("r1")
    assert (found.task, found.attempt, found.milestone) == ("train", "try1", milestone)


def test_a_milestone_that_is_recorded_again_stays_as_it_was_first():
    put(Milestone(kind="started", at=1.0))
    put(Milestone(kind="started", at=9.0))
    assert [found.milestone.at for found in milestones.of_run("r1")] == [1.0]


def test_milestones_of_other_hosts_steps_attempts_and_tasks_are_others():
    checkpoint = Milestone(kind="checkpoint", at=1.0, host="a", number=20)
    put(checkpoint)
    put(checkpoint.model_copy(update={"host": "b"}))
    put(checkpoint.model_copy(update={"number": 40}))
    put(checkpoint, attempt="try2")
    put(checkpoint, task="all_reduce")
    assert len(milestones.of_run("r1")) == milestones.count("r1") == 5


def test_milestones_come_in_the_order_in_which_they_happened():
    for kind, at in (("ended", 3.0), ("started", 1.0), ("ranks_started", 2.0)):
        put(Milestone(kind=kind, at=at))
    assert [found.milestone.kind for found in milestones.of_run("r1")] == [
        "started",
        "ranks_started",
        "ended",
    ]


def test_a_milestone_is_a_sign_of_the_runs_activity():
    before = runs.summary("r1").active_at
    put(Milestone(kind="started", at=1.0))
    assert runs.summary("r1").active_at > before
