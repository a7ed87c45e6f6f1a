"""What is told, and of which run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

ANSWER_PAGE = "required_actions"
"""Page of a task on which Airflow takes a person's answer."""


class Event(StrEnum):
    """The events of which somebody may be told; a tag of an entry names one."""

    FAILURE = "failure"
    """A run has failed."""
    HELD_BACK = "held_back"
    """The gate holds a candidate back."""
    PROMOTED = "promoted"
    """Another version is served."""
    OVERRUN = "overrun"
    """A run still goes on at its deadline."""
    DATA_CHECK = "data_check"
    """A commit's rows did not pass their check."""
    APPROVAL = "approval"
    """A run waits for a person's answer."""
    LOSS = "loss"
    """The loss of a training is not finite, or has jumped."""
    DISK = "disk"
    """A disk is nearly full."""
    TEST = "test"
    """A person tries the settings; every entry gets it."""


@dataclass(frozen=True)
class Alert:
    """One event, mostly of one run.

    Attributes:
        event: What happened.
        run_id: Airflow's id of the run; empty where it concerns none.
        link: Address of the page that shows more, or that answers.
        facts: What the message says beside that, by the names in `message`; those that are empty are left
            out.
    """

    event: Event
    run_id: str = ""
    link: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)
