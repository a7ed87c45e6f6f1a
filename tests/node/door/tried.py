"""What a trial of a door counted, and what its candidate was asked."""

from __future__ import annotations

from typing import Any

from door.trial_files import Counts, Trial, read_counts
from tests.waiting import wait_until

CANDIDATE = "text2sql-new"
"""Served name of the candidate."""


def counts(front, trial: Trial) -> Counts:
    """What was counted; as it is written a moment later, nothing of it may be relied on at once."""
    return read_counts(front.folder, trial) or Counts(0)


def until_counted(front, trial: Trial, answered: int = 0, failed: int = 0) -> Counts:
    """The counts once the candidate has as many requests."""

    def counted() -> Counts | None:
        now = counts(front, trial)
        found = (now.candidate.answered, now.candidate.failed)
        return now if found == (answered, failed) else None

    return wait_until(counted, problem=lambda: counts(front, trial))


def asked(api, model: str) -> list[dict[str, Any]]:
    return [body for body in api.requests if body["model"] == model]
