"""What is found decides: the whole table."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ssh_gang.model import Gang, Member
from ssh_gang.resume import Decision, decide
from ssh_gang.state import JobState

GANG = Gang(
    name="n",
    attempt="try9",
    generation=1,
    spec="s",
    root="/r",
    members=[Member(host="h", conn_id="c", argv=["true"], cwd="/w")],
)
ABSENT = JobState("absent")
ARMED = JobState("there", "try1", generation=1, spec="s", alive=True)
RUNNING = replace(ARMED, started=1.0)
DONE = replace(RUNNING, alive=False, exit="0", ended=2.0)
FAILED = replace(DONE, exit="1")
REFUSED = replace(DONE, exit="refused")
STOPPED = replace(DONE, exit="stopped")
LOST = replace(RUNNING, alive=False)
CLEARED = replace(DONE, generation=0)
CLEARED_RUNNING = replace(RUNNING, generation=0)
OTHER_PLAN = replace(DONE, spec="t")
OTHER_TRY = replace(RUNNING, attempt="try2")


@pytest.mark.parametrize(
    ("states", "decision"),
    [
        ([ABSENT, ABSENT], Decision.FRESH_SUBMIT),
        ([RUNNING, RUNNING], Decision.RECONNECT),
        ([RUNNING, DONE], Decision.RECONNECT),
        ([DONE, DONE], Decision.ALREADY_SUCCEEDED),
        ([CLEARED, CLEARED], Decision.TERMINAL_RESUBMIT),
        ([CLEARED, DONE], Decision.TERMINAL_RESUBMIT),
        ([CLEARED_RUNNING, CLEARED_RUNNING], Decision.TERMINAL_RESUBMIT),
        ([OTHER_PLAN, OTHER_PLAN], Decision.TERMINAL_RESUBMIT),
        ([REFUSED, REFUSED], Decision.TERMINAL_RESUBMIT),
        ([RUNNING, ABSENT], Decision.TERMINAL_RESUBMIT),
        ([DONE, ABSENT], Decision.TERMINAL_RESUBMIT),
        ([RUNNING, FAILED], Decision.TERMINAL_RESUBMIT),
        ([RUNNING, STOPPED], Decision.TERMINAL_RESUBMIT),
        ([RUNNING, LOST], Decision.TERMINAL_RESUBMIT),
        ([LOST, LOST], Decision.TERMINAL_RESUBMIT),
        ([ARMED, ARMED], Decision.TERMINAL_RESUBMIT),
        ([RUNNING, ARMED], Decision.TERMINAL_RESUBMIT),
        ([RUNNING, OTHER_TRY], Decision.TERMINAL_RESUBMIT),
        ([FAILED, FAILED], Decision.TERMINAL_RESUBMIT),
    ],
)
def test_decision(states, decision):
    assert decide(states, GANG) is decision


def test_a_silent_host_is_no_decision():
    with pytest.raises(ValueError, match="not known"):
        decide([RUNNING, JobState("unreachable")], GANG)


def test_states_have_answers():
    assert LOST.is_lost and not RUNNING.is_lost and not DONE.is_lost
    assert (
        JobState("there", exit="137").how_it_ended == "killed by signal 9"
        and FAILED.how_it_ended == "exit code 1"
    )
    assert JobState("there", rebooted=True).how_it_ended == "lost: the host was restarted"
