"""The questions that a state answers."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ssh_gang.state import JobState, describe_exit

RUNNING = JobState(presence="present", attempt="try1", alive=True, started_at=1.0)
DONE = replace(RUNNING, alive=False, exit_status="0", ended_at=2.0)
LOST = replace(RUNNING, alive=False)
ABSENT = JobState(presence="absent")


@pytest.mark.parametrize(
    ("state", "running", "terminal", "succeeded", "lost", "failed"),
    [
        (RUNNING, True, False, False, False, False),
        (DONE, False, True, True, False, False),
        (replace(DONE, exit_status="1"), False, True, False, False, True),
        (replace(DONE, exit_status="refused"), False, True, False, False, True),
        (replace(DONE, exit_status="stopped"), False, True, False, False, True),
        # The exit status is recorded a moment before the wrapper is gone.
        (replace(DONE, alive=True), False, True, True, False, False),
        (LOST, False, False, False, True, True),
        (ABSENT, False, False, False, False, True),
    ],
)
def test_questions(state, running, terminal, succeeded, lost, failed):
    assert state.is_running is running
    assert state.is_terminal is terminal
    assert state.succeeded is succeeded
    assert state.is_lost is lost
    assert state.has_failed is failed


@pytest.mark.parametrize(
    ("state", "outcome"),
    [
        (RUNNING, "running"),
        (replace(DONE, exit_status="137"), "killed by signal 9"),
        (replace(DONE, exit_status="1"), "exit code 1"),
        (replace(DONE, exit_status="stopped"), "stopped"),
        (replace(DONE, exit_status="not_started"), "cancelled before the start signal"),
        (LOST, "lost: its wrapper is gone without an exit code"),
        (replace(LOST, rebooted=True), "lost: the host was restarted"),
        (ABSENT, "its folder is gone"),
    ],
)
def test_outcome(state, outcome):
    assert state.outcome == outcome


@pytest.mark.parametrize(
    ("code", "description"),
    [
        (0, "exit code 0"),
        (1, "exit code 1"),
        (128, "exit code 128"),
        (143, "killed by signal 15"),
        (-9, "killed by signal 9"),
        (255, "exit code 255"),
    ],
)
def test_exit_code_is_described(code, description):
    assert describe_exit(code) == description
