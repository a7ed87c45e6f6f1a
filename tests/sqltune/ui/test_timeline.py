"""What happened to the gangs of a run, and when."""

from __future__ import annotations

from datetime import timedelta

import pytest
from fastapi.testclient import TestClient

from sqltune.records import series
from sqltune.records.types import now
from sqltune.ui.app import create_app
from ssh_gang.progress import Progress
from tests.sqltune.ui.gangs import BEGAN, Gang, at, iso


@pytest.fixture
def gang(engine) -> Gang:
    return Gang()


@pytest.fixture
def timeline(gang):
    """The timeline as the API answers now."""

    def get() -> dict:
        response = TestClient(create_app()).get(f"/api/v1/runs/{gang.key}/timeline")
        assert response.status_code == 200, response.text
        return response.json()

    return get


def resumed_training(gang: Gang) -> None:
    """Trained to step 14, failed, and resumed from step 10 to the end at 20."""
    gang.launch("try1", 0)
    gang.steps("try1", 1, 14, seconds=10)
    gang.checkpoint("try1", 10, seconds=31)
    gang.fail("try1", 40)
    gang.launch("try2", 60, resumed_from=10)
    gang.steps("try2", 11, 20, seconds=70)
    gang.end("try2", 90)


def test_an_attempt_has_the_moments_of_its_life(gang, timeline):
    gang.launch("try1", 0)
    gang.steps("try1", 1, 3, seconds=10)
    gang.end("try1", 20)
    attempt = timeline()["attempts"][0]
    assert (attempt["task"], attempt["state"], attempt["reason"]) == ("train", "succeeded", "")
    moments = ("submitted_at", "prepared_at", "started_at", "ranks_started_at", "first_step_at", "ended_at")
    assert [attempt[name] for name in moments] == [iso(s) for s in (0, 1, 2, 3, 10, 20)]
    assert (attempt["launch_skew"], attempt["launch_skew_error"]) == (0.004, 0.001)


def test_a_checkpoint_is_there_when_the_last_host_has_sealed_its_part(gang, timeline):
    gang.launch("try1", 0)
    gang.checkpoint("try1", 10, seconds=31)
    assert timeline()["attempts"][0]["checkpoints"] == [{"step": 10, "at": iso(32), "hosts": gang.hosts}]


def test_a_failed_attempt_says_why_and_when_it_was_stopped(gang, timeline):
    gang.launch("try1", 0)
    gang.fail("try1", 40)
    attempt = timeline()["attempts"][0]
    assert (attempt["state"], attempt["stopping_at"], attempt["stopped_at"]) == ("failed", iso(40), iso(41))
    assert attempt["reason"] == "host-b rank 1: killed by signal 9, before all others"


def test_an_attempt_that_ended_without_evidence_has_failed(gang, timeline):
    gang.launch("try1", 0)
    gang.end("try1", 20)
    gang.note("try1", "failed", 21, reason="the last iteration in the log is none")
    attempt = timeline()["attempts"][0]
    assert (attempt["state"], attempt["reason"]) == ("failed", "the last iteration in the log is none")


def test_an_attempt_that_a_person_stopped_is_stopped(gang, timeline):
    gang.launch("try1", 0)
    gang.note("try1", "killed", 30)
    attempt = timeline()["attempts"][0]
    assert (attempt["state"], attempt["stopped_at"]) == ("stopped", iso(30))


def test_an_attempt_whose_end_nobody_saw_is_stopped_once_the_next_one_is_there(gang, timeline):
    gang.launch("try1", 0)
    assert [attempt["state"] for attempt in timeline()["attempts"]] == ["running"]
    gang.launch("try2", 60)
    assert [attempt["state"] for attempt in timeline()["attempts"]] == ["stopped", "running"]


def test_a_try_that_found_the_attempt_running_is_part_of_it(gang, timeline):
    gang.launch("try1", 0)
    gang.note("try1", "reconnected", 50, number=2)
    assert timeline()["attempts"][0]["reconnected_at"] == [iso(50)]


def test_a_watcher_that_took_over_is_part_of_the_attempt(gang, timeline):
    gang.launch("try1", 0)
    gang.note("try1", "taken_over", 50, number=12)
    gang.note("try1", "taken_over", 80, number=20)
    assert timeline()["attempts"][0]["takeovers"] == [
        {"step": 12, "at": iso(50)},
        {"step": 20, "at": iso(80)},
    ]


def test_steps_that_a_later_attempt_took_again_are_lost(gang, timeline):
    resumed_training(gang)
    attempts = timeline()["attempts"]
    assert [(a["resumed_from"], a["first_step"], a["last_step"], a["lost_steps"]) for a in attempts] == [
        (0, 1, 14, 4),
        (10, 11, 20, 0),
    ]


def test_a_launch_that_was_refused_loses_no_step(gang, timeline):
    gang.launch("try1", 0)
    gang.steps("try1", 1, 14, seconds=10)
    gang.fail("try1", 40)
    gang.note("try2", "failed", 60, reason="host-b: cannot be prepared: port 12345 is taken")
    assert timeline()["attempts"][0]["lost_steps"] == 0


def test_the_time_to_the_first_step_goes_from_the_first_submission(gang, timeline):
    resumed_training(gang)
    assert timeline()["time_to_first_step"] == 10


def test_goodput_is_the_share_of_the_steps_that_were_kept(gang, timeline):
    resumed_training(gang)
    # 10 steps of the first attempt and 10 of the second, 2 s each, in 90 s.
    assert timeline()["goodput"] == {
        "useful_seconds": 40,
        "wall_seconds": 90,
        "share": pytest.approx(40 / 90),
        "lost_steps": 4,
    }


def test_a_line_of_the_log_counts_for_the_steps_since_the_line_before(gang, timeline):
    gang.launch("try1", 0, resumed_from=10)
    for step in (20, 30, 35):
        progress = Progress(step=step, total=35, loss=1.0, seconds_per_step=2.0)
        series.put_iteration(gang.key, "try1", at(step), progress)
    gang.end("try1", 100)
    assert timeline()["goodput"]["useful_seconds"] == 50


def test_a_running_training_counts_up_to_now(gang, timeline):
    gang.launch("try1", 0)
    gang.steps("try1", 1, 2, seconds=10)
    wall = timedelta(seconds=timeline()["goodput"]["wall_seconds"])
    assert now() - BEGAN - wall < timedelta(seconds=30)


def test_before_the_first_step_there_is_no_goodput(gang, timeline):
    gang.launch("try1", 0)
    found = timeline()
    assert (found["time_to_first_step"], found["goodput"]) == (None, None)


def test_gangs_of_other_tasks_are_part_of_the_timeline_and_not_of_goodput(gang, timeline):
    Gang("all_reduce").launch("try1", 0)
    gang.launch("try1", 100)
    gang.steps("try1", 1, 10, seconds=110)
    gang.end("try1", 140)
    found = timeline()
    assert [attempt["task"] for attempt in found["attempts"]] == ["all_reduce", "train"]
    assert [attempt["first_step"] for attempt in found["attempts"]] == [None, 1]
    assert found["goodput"]["wall_seconds"] == 40


def test_a_run_without_milestones_has_the_attempts_of_its_iterations(gang, timeline):
    """It was recorded by an earlier version."""
    gang.steps("try1", 1, 3, seconds=10)
    found = timeline()
    assert [(a["attempt"], a["state"], a["last_step"]) for a in found["attempts"]] == [("try1", None, 3)]
    assert found["goodput"] is None


def test_the_commands_are_those_of_the_newest_attempt_of_each_gang(gang, engine):
    Gang("all_reduce").launch("try1", 0)
    gang.launch("try1", 100)
    gang.launch("try2", 200)
    found = TestClient(create_app()).get(f"/api/v1/runs/{gang.key}/commands").json()["tasks"]
    assert [(task["task"], task["attempt"]) for task in found] == [("all_reduce", "try1"), ("train", "try2")]
    assert [command["host"] for command in found[1]["commands"]] == gang.hosts
    assert found[1]["commands"][0]["command"] == "echo try2"
