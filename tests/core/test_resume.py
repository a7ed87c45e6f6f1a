"""What is found decides: the whole table."""

from __future__ import annotations

import pytest

from sqltune.remote_job import JobState
from sqltune.resume import Decision, decide

ABSENT = JobState("absent")
RUNNING = JobState("there", "try1", alive=True, started=1.0)
ARMED = JobState("there", "try1", alive=True)
DONE = JobState("there", "try1", started=1.0, exit="0", ended=2.0)
FAILED = JobState("there", "try1", started=1.0, exit="1", ended=2.0)
LOST = JobState("there", "try1", started=1.0)
JUDGED = JobState("there", "try1", started=1.0, exit="0", ended=2.0, judged=1)
CLEARED = JobState("there", "try1", started=1.0, exit="0", ended=2.0, judged=0)
OTHER = JobState("there", "try2", alive=True, started=1.0)


@pytest.mark.parametrize(("states", "decision"), [
    ([ABSENT, ABSENT], Decision.FRESH_SUBMIT),
    ([RUNNING, RUNNING], Decision.RECONNECT),
    ([RUNNING, DONE], Decision.RECONNECT),
    ([DONE, DONE], Decision.ALREADY_SUCCEEDED),
    ([JUDGED, JUDGED], Decision.ALREADY_SUCCEEDED),
    ([JUDGED, DONE], Decision.ALREADY_SUCCEEDED),
    ([CLEARED, CLEARED], Decision.TERMINAL_RESUBMIT),
    ([CLEARED, JUDGED], Decision.TERMINAL_RESUBMIT),
    ([RUNNING, ABSENT], Decision.TERMINAL_RESUBMIT),
    ([RUNNING, FAILED], Decision.TERMINAL_RESUBMIT),
    ([RUNNING, LOST], Decision.TERMINAL_RESUBMIT),
    ([ARMED, ARMED], Decision.TERMINAL_RESUBMIT),
    ([RUNNING, ARMED], Decision.TERMINAL_RESUBMIT),
    ([RUNNING, OTHER], Decision.TERMINAL_RESUBMIT),
    ([FAILED, FAILED], Decision.TERMINAL_RESUBMIT),
])
def test_decision(states, decision):
    assert decide(states, generation=1) is decision


def test_a_silent_host_is_no_decision():
    with pytest.raises(ValueError, match="not known"):
        decide([RUNNING, JobState("unreachable")], generation=1)


def test_states_have_answers():
    assert LOST.is_lost and not RUNNING.is_lost and not DONE.is_lost
    assert JobState("there", exit="137").how_it_ended == "killed by signal 9" and FAILED.how_it_ended == "exit code 1"
    assert JobState("there", rebooted=True).how_it_ended == "lost: the host was restarted"
