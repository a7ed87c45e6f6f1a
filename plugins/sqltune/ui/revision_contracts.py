"""The API's answer about revisions; TypeScript types are generated from it."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from ssh_gang.model import Model


class RevisionLine(Model):
    """One commit of the dataset."""

    commit: str
    date: datetime
    author: str
    title: str
    tags: list[str]
    state: Literal["known", "waiting", "skipped", "started", "gone", "trained"]
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
