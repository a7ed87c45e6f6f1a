"""Which of the revisions that wait is trained next, and when; and for what the others wait."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from sqltune.config.recipe import Revisions
from sqltune.records.revisions import Revision


class Reason(StrEnum):
    """For what a revision waits."""

    NO_TAG = "no_tag"
    """Only commits with a tag are trained."""
    REPLACED = "replaced"
    """A newer one is trained in its place."""
    NIGHT = "night"
    """For the schedule."""
    QUIET = "quiet"
    """Until the branch has been quiet for long enough; then in the branch's order."""
    TURN = "turn"
    """For no moment any more: for the end of the runs that run or are queued, in the branch's order."""


@dataclass(frozen=True)
class Wait:
    """For what a revision waits, and until when, where that is a moment."""

    reason: Reason
    until: datetime | None = None


@dataclass(frozen=True)
class Next:
    """A revision, and when its run starts."""

    revision: Revision
    at: datetime


def candidates(waiting: Sequence[Revision], policy: Revisions) -> list[Revision]:
    """Return the revisions that a policy wants trained, in the branch's order."""
    match policy.policy:
        case "each":
            return list(waiting)
        case "tagged":
            return [revision for revision in waiting if revision.tags]
    return list(waiting[-1:])


def next_revision(
    waiting: Sequence[Revision], policy: Revisions, with_run: Collection[str] = ()
) -> Next | None:
    """Return the revision that is trained next as soon as the branch is quiet; None where none is.

    Args:
        waiting: The revisions that no run has claimed, in the branch's order.
        policy: The recipe's; `nightly` starts nothing by itself.
        with_run: Commits that have a run which has not claimed them yet: it does not run yet, or has failed.
    """
    if policy.policy == "nightly":
        return None
    wanted = candidates(waiting, policy)
    first = next((revision for revision in wanted if revision.commit not in with_run), None)
    if first is None:
        return None
    quiet_since = max(revision.first_seen for revision in wanted)
    return Next(first, quiet_since + timedelta(seconds=policy.quiet_period))


def tonight(waiting: Sequence[Revision], night: datetime, with_run: Collection[str] = ()) -> Revision | None:
    """Return the newest revision that was seen before a night, or None where it has a run.

    Args:
        waiting: The revisions that no run has claimed, in the branch's order.
        night: The moment of the schedule; it may be in the future.
        with_run: Commits that have a run which has not claimed them yet.
    """
    seen = [revision for revision in waiting if revision.first_seen <= night]
    return seen[-1] if seen and seen[-1].commit not in with_run else None


def wait(revision: Revision, waiting: Sequence[Revision], policy: Revisions, now: datetime) -> Wait:
    """Return for what a revision waits.

    Args:
        revision: One of those that wait.
        waiting: The revisions that no run has claimed, in the branch's order.
        policy: The recipe's.
        now: The moment; `until` is after it.
    """
    if revision not in candidates(waiting, policy):
        return Wait(Reason.NO_TAG if policy.policy == "tagged" else Reason.REPLACED)
    following = next_revision(waiting, policy)
    if following is None:
        return Wait(Reason.NIGHT)
    return Wait(Reason.QUIET, following.at) if following.at > now else Wait(Reason.TURN)
