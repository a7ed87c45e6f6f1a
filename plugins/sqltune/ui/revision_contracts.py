"""The API's answer about revisions; TypeScript types are generated from it."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from ssh_gang.model import Model


class Owner(Model):
    """A run of a DAG."""

    dag_id: str
    run_id: str


class Turn(Model):
    """Whose turn comes before a run's."""

    ahead: Owner | None
    """The run that has claimed what this one trains; null where none has, or this one."""


class Wait(Model):
    """For what a commit waits. Runs that run or are queued come before it; Airflow knows of them."""

    reason: Literal["no_tag", "replaced", "night", "quiet", "turn", "unwatched", "stale"]
    """no_tag, replaced: it is not trained by itself. night: the schedule trains it. quiet: until the branch
    has been quiet for long enough. turn: when the runs before it have ended. unwatched: no schedule trains
    this recipe's commits. stale: the hub has not answered the watcher; a night's run looks
    itself, unless only tags are trained."""
    until: datetime | None
    """Of `quiet`."""


class QueuedCommit(Model):
    """A commit that will be trained by itself."""

    commit: str
    title: str
    first_seen: datetime
    wait: Wait


class CommitQueue(Model):
    """The commits that will be trained by themselves, in order."""

    commits: list[QueuedCommit]


class RevisionLine(Model):
    """One commit of the dataset."""

    commit: str
    date: datetime
    author: str
    title: str
    tags: list[str]
    state: Literal["known", "waiting", "skipped", "started", "gone", "trained"]
    wait: Wait | None
    """Of one that waits."""
    run_id: str | None
    """Of the run that trained it, or else of the one that has claimed it."""
    rows: int | None
    """Training rows, where they were counted."""
    questions: int | None
    matched: int | None
    passed: bool | None
    """Whether the gate has passed the model."""
    gpu_hours: float | None
    """Of its training."""


class Feed(Model):
    """A branch that is followed."""

    recipe: str
    dataset_repo: str
    branch: str
    checked_at: datetime | None
    """When the hub last answered."""
    revisions: list[RevisionLine]
    """The newest first."""


class Revisions(Model):
    """The branches that are followed for a cluster."""

    feeds: list[Feed]
