"""The tables of the dataset's revisions. Every moment is UTC."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from sqltune.records.base import Base


class RevisionFeed(Base):
    """A branch of a dataset that is followed for a cluster and a recipe."""

    __tablename__ = "revision_feeds"
    __table_args__ = (UniqueConstraint("cluster", "recipe", "dataset_repo", "branch"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    cluster: Mapped[str]
    recipe: Mapped[str]
    dataset_repo: Mapped[str]
    branch: Mapped[str]
    head: Mapped[str | None]
    """The watermark: the branch's newest commit when it was last listed."""
    etag: Mapped[str | None]
    """Of the hub's answer about branches and tags: while it is the same, nothing has moved."""
    checked_at: Mapped[datetime | None]
    """When the hub last answered."""
    asked_at: Mapped[datetime | None]
    """When a webhook last said that the branch has moved."""


class Revision(Base):
    """A commit of a feed; unique, so that whoever sees it second adds nothing."""

    __tablename__ = "revisions"
    __table_args__ = (
        UniqueConstraint("feed_id", "commit"),
        Index(None, "feed_id", "position"),
        Index(None, "feed_id", "state"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    feed_id: Mapped[int] = mapped_column(ForeignKey("revision_feeds.id", ondelete="CASCADE"))
    commit: Mapped[str]
    position: Mapped[int]
    """Its place in the order of the branch, from 1."""
    date: Mapped[datetime]
    author: Mapped[str]
    title: Mapped[str]
    tags: Mapped[list[Any]]
    first_seen: Mapped[datetime]
    source: Mapped[str]
    """Who saw it first: `Source`."""
    state: Mapped[str]
    """`State`; whether it was trained is in `runs` and `verdicts`, by the fingerprint."""
    run_id: Mapped[str | None]
    """Airflow's run id of the run that has claimed it."""
    fingerprint: Mapped[str | None]
    """Of that run's plan: a revision is trained when a run with this fingerprint has its verdict."""
    claimed_at: Mapped[datetime | None]
    is_partition: Mapped[bool]
    """Whether that run carries the commit as its partition key."""
