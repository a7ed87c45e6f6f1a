"""What a try does with what it finds on the hosts, in the four words of Airflow's SDK."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

from ssh_gang.model import Gang
from ssh_gang.state import JobState


class Decision(Enum):
    """What to do about a gang that may have been started before."""

    FRESH_SUBMIT = "fresh_submit"
    """Nothing is there: start it."""
    RECONNECT = "reconnect"
    """Ranks are running on every host: watch them."""
    ALREADY_SUCCEEDED = "already_succeeded"
    """All ended well: judge it."""
    TERMINAL_RESUBMIT = "terminal_resubmit"
    """What is there ended badly, was cleared by a person, is another plan's, or is not whole: stop what is left, put it aside, start again."""


def decide(states: Sequence[JobState], gang: Gang) -> Decision:
    """The decision for what all hosts of a gang say. A host that can't be reached is the caller's error, not a decision.

    What ended well in this generation is judged again: Airflow may fail a task after its work was done, and what took days is
    not done twice for that. What belongs to another generation was cleared by a person, who wants it run again; and the old
    try's on_kill, which may come later, then finds a try that is not its own.
    """
    if any(s.presence == "unreachable" for s in states):
        raise ValueError("a host has not answered: whether its ranks run is not known")
    if all(s.presence == "absent" for s in states):
        return Decision.FRESH_SUBMIT
    one = len({s.attempt for s in states}) == 1
    ours = all(
        s.presence == "present" and s.generation == gang.generation and s.spec_hash == gang.spec_hash
        for s in states
    )
    if one and ours:
        if all(s.succeeded for s in states):
            return Decision.ALREADY_SUCCEEDED
        # Said to go and none failed: one host may be done a moment before the other.
        if all(s.started_at for s in states) and all(s.is_running or s.succeeded for s in states):
            return Decision.RECONNECT
    return Decision.TERMINAL_RESUBMIT
