"""What an attempt does about the state that it finds on the hosts."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

from ssh_gang.model import Gang
from ssh_gang.state import JobState


class Decision(Enum):
    """What to do about a gang that may have been started before; the terms are those of Airflow's SDK."""

    FRESH_SUBMIT = "fresh_submit"
    """No host knows the gang: start it."""
    RECONNECT = "reconnect"
    """The gang is running on every host: watch it."""
    ALREADY_SUCCEEDED = "already_succeeded"
    """The gang has ended with success on every host: judge the result."""
    TERMINAL_RESUBMIT = "terminal_resubmit"
    """The gang failed, was cleared by a person, ran another spec, or is incomplete: stop what is left, put it
    aside, and start again."""


def decide(states: Sequence[JobState], gang: Gang) -> Decision:
    """Return what to do about the states of all hosts of a gang.

    A success of this generation is judged again, not run again: Airflow may fail a task after its work was
    done, and that work may have taken days. A state of another generation was cleared by a person, so that
    the gang runs again. A new attempt then owns the folder, so that a late on_kill of the old attempt
    finds nothing of its own.

    Args:
        states: State of every host: where one has not answered, it is not known whether its ranks run.
        gang: The gang as this attempt would start it.
    """
    if all(state.presence == "absent" for state in states):
        return Decision.FRESH_SUBMIT
    if not _is_one_attempt(states) or not all(_is_of(gang, state) for state in states):
        return Decision.TERMINAL_RESUBMIT
    if all(state.succeeded for state in states):
        return Decision.ALREADY_SUCCEEDED
    # One host may end a moment before the other.
    if all(state.started_at and (state.is_running or state.succeeded) for state in states):
        return Decision.RECONNECT
    return Decision.TERMINAL_RESUBMIT


def _is_one_attempt(states: Sequence[JobState]) -> bool:
    return len({state.attempt for state in states}) == 1


def _is_of(gang: Gang, state: JobState) -> bool:
    """Whether the state is of this generation and of what the gang runs."""
    same = state.generation == gang.generation and state.spec_hash == gang.spec_hash
    return state.presence == "present" and same
