"""What a try does with what it finds on the hosts, in the four words of Airflow's SDK."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

from sqltune.remote_job import JobState


class Decision(Enum):
    """What to do about a gang that may have been started before."""

    FRESH_SUBMIT = "fresh_submit"
    """Nothing is there: start it."""
    RECONNECT = "reconnect"
    """Ranks are running on every host: watch them."""
    ALREADY_SUCCEEDED = "already_succeeded"
    """All ended well: judge it."""
    TERMINAL_RESUBMIT = "terminal_resubmit"
    """What is there ended badly, was cleared after it was judged, or is not whole: stop what is left, put it aside, start again."""


def decide(states: Sequence[JobState], generation: int) -> Decision:
    """The decision for what all hosts of a gang say. A host that can't be reached is the caller's error, not a decision.

    What was judged in this generation is judged again: Airflow may fail a task after its work was done, and what took days is
    not done twice for that. What was judged in another was cleared by a person, who wants it run again.
    """
    if any(s.state == "unreachable" for s in states):
        raise ValueError("a host has not answered: whether its ranks run is not known")
    if all(s.state == "absent" for s in states):
        return Decision.FRESH_SUBMIT
    same_try = len({s.attempt for s in states}) == 1
    if same_try and not any(s.judged not in (None, generation) or s.state == "absent" for s in states):
        if all(s.succeeded for s in states):
            return Decision.ALREADY_SUCCEEDED
        # Said to go and none failed: one host may be done a moment before the other.
        if all(s.started for s in states) and all(s.is_running or s.succeeded for s in states):
            return Decision.RECONNECT
    return Decision.TERMINAL_RESUBMIT
