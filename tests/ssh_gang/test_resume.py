"""The decision for what is found on the hosts: the whole table."""

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
    spec_hash="s",
    root="/r",
    members=[Member(host="h", conn_id="c", argv=["true"], cwd="/w")],
)
ABSENT = JobState(presence="absent")
PREPARED = JobState(presence="present", attempt="try1", generation=1, spec_hash="s", alive=True)
RUNNING = replace(PREPARED, started_at=1.0)
DONE = replace(RUNNING, alive=False, exit_status="0", ended_at=2.0)
FAILED = replace(DONE, exit_status="1")
REFUSED = replace(DONE, exit_status="refused")
STOPPED = replace(DONE, exit_status="stopped")
LOST = replace(RUNNING, alive=False)
CLEARED = replace(DONE, generation=0)
CLEARED_RUNNING = replace(RUNNING, generation=0)
OTHER_SPEC = replace(DONE, spec_hash="t")
OTHER_ATTEMPT = replace(RUNNING, attempt="try2")


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
        ([OTHER_SPEC, OTHER_SPEC], Decision.TERMINAL_RESUBMIT),
        ([REFUSED, REFUSED], Decision.TERMINAL_RESUBMIT),
        ([RUNNING, ABSENT], Decision.TERMINAL_RESUBMIT),
        ([DONE, ABSENT], Decision.TERMINAL_RESUBMIT),
        ([RUNNING, FAILED], Decision.TERMINAL_RESUBMIT),
        ([RUNNING, STOPPED], Decision.TERMINAL_RESUBMIT),
        ([RUNNING, LOST], Decision.TERMINAL_RESUBMIT),
        ([LOST, LOST], Decision.TERMINAL_RESUBMIT),
        ([PREPARED, PREPARED], Decision.TERMINAL_RESUBMIT),
        ([RUNNING, PREPARED], Decision.TERMINAL_RESUBMIT),
        ([RUNNING, OTHER_ATTEMPT], Decision.TERMINAL_RESUBMIT),
        ([FAILED, FAILED], Decision.TERMINAL_RESUBMIT),
    ],
)
def test_decision_for_the_states_of_all_hosts(states, decision):
    assert decide(states, GANG) is decision
