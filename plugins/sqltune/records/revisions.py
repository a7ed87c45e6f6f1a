"""Revisions: the commits of a dataset's branch, when they were seen, and which run has each.

A commit and the watermark behind which it lies are written in one transaction, so a reader of the hub may be
killed at any moment: it has recorded all of what it saw, or nothing. Whoever reads the hub says on which
watermark its reading is based; where another reader has moved it since, nothing is written, and the next
reading starts from there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Literal

from sqlalchemy import ColumnElement, exists, select, update
from sqlalchemy.orm import Session

from sqltune.records import database
from sqltune.records.models import Run, Verdict
from sqltune.records.revision_tables import Revision as RevisionRow
from sqltune.records.revision_tables import RevisionFeed
from sqltune.records.types import now

Source = Literal["watcher", "plan", "cli"]
"""Who reads the hub. A webhook makes the watcher look at once, and reads nothing itself."""


class State(StrEnum):
    """What is to become of a revision."""

    KNOWN = "known"
    """It was there before the branch was watched: trained by choice only."""
    WAITING = "waiting"
    SKIPPED = "skipped"
    """A newer one was trained in its place."""
    STARTED = "started"
    """A run has claimed it."""
    GONE = "gone"
    """The branch was pushed with force, and has it no more."""


@dataclass(frozen=True)
class Feed:
    """A branch that is followed for a cluster and a recipe: another recipe trains its commits anew."""

    cluster: str
    recipe: str
    dataset_repo: str
    branch: str = "main"


@dataclass(frozen=True)
class Watermark:
    """How far a feed was read.

    Attributes:
        head: The newest commit that is recorded; None before the first reading.
        etag: The ETag of the hub's answer about branches and tags.
        checked_at: When the hub last answered.
        asked_at: When a webhook last said that the branch has moved.
    """

    head: str | None = None
    etag: str | None = None
    checked_at: datetime | None = None
    asked_at: datetime | None = None

    def is_fresh(self, within: timedelta) -> bool:
        """Whether the hub has answered within this time."""
        return self.checked_at is not None and now() - self.checked_at <= within


@dataclass(frozen=True)
class Commit:
    """A commit as the hub lists it."""

    commit: str
    date: datetime
    author: str
    title: str


@dataclass(frozen=True)
class Reading:
    """What the hub has said about a branch.

    Attributes:
        commits: Its commits, oldest first; None where neither branch nor tags have moved.
        tags: Tags by the commit that they are on.
        etag: The answer's ETag.
        read_from: The watermark's head when the reading began.
    """

    commits: Sequence[Commit] | None
    read_from: str | None
    tags: Mapping[str, Sequence[str]] = field(default_factory=dict)
    etag: str | None = None


@dataclass(frozen=True)
class Revision:
    """A recorded commit."""

    commit: str
    position: int
    date: datetime
    author: str
    title: str
    tags: tuple[str, ...]
    first_seen: datetime
    source: str
    state: State
    run_id: str | None
    fingerprint: str | None
    is_partition: bool
    is_trained: bool
    """Whether the run that has claimed it, or one with the same plan, has its verdict."""

    @property
    def partition_date(self) -> datetime:
        """The commit's date, made unique: git counts whole seconds, so its place goes into the microseconds.

        Airflow finds the run of a partition by its date.
        """
        return self.date.replace(microsecond=self.position % 1_000_000)


def watermark(feed: Feed) -> Watermark:
    """Return how far a feed was read."""
    with database.reading() as session:
        row = session.scalar(select(RevisionFeed).where(*_is(feed)))
        return Watermark(row.head, row.etag, row.checked_at, row.asked_at) if row else Watermark()


def observe(feed: Feed, reading: Reading, source: Source) -> list[str]:
    """Record what the hub has said; return the commits that are new, oldest first.

    Returns:
        The commits that wait since now; empty also where another reader has moved the watermark meanwhile.
    """
    with database.writing() as session:
        row = _locked(session, feed)
        if row.head != reading.read_from:
            return []
        row.checked_at = now()
        if reading.commits is None:
            return []
        row.etag = reading.etag
        return _record(session, row, reading.commits, reading.tags, source) if reading.commits else []


def _locked(session: Session, feed: Feed) -> RevisionFeed:
    """The feed's row, added if it is missing; no other transaction writes to the feed until this one ends."""
    names = asdict(feed)
    database.upsert(session, RevisionFeed, [names], keys=list(names), update=False)
    return session.execute(select(RevisionFeed).where(*_is(feed)).with_for_update()).scalar_one()


def _record(
    session: Session,
    feed: RevisionFeed,
    commits: Sequence[Commit],
    tags: Mapping[str, Sequence[str]],
    source: Source,
) -> list[str]:
    rows = {row.commit: row for row in session.scalars(select(RevisionRow).filter_by(feed_id=feed.id))}
    first_new = _first_new(feed.head, commits, rows)
    is_rewritten = feed.head is not None and feed.head not in {c.commit for c in commits}
    if is_rewritten:
        _forget_missing(rows, commits)
    position = max((row.position for row in rows.values()), default=0)
    waiting: list[str] = []
    for number, commit in enumerate(commits):
        # A merge may bring commits that are older than the watermark, and new all the same.
        is_new = number >= first_new or (feed.head is not None and not is_rewritten)
        state = State.WAITING if is_new else State.KNOWN
        row = rows.get(commit.commit)
        if row is None:
            position += 1
            row = _row(feed, commit, position, source, state)
            session.add(row)
        elif row.state == State.GONE:
            row.state = state
        else:
            is_new = False
        row.tags = list(tags.get(commit.commit, ()))
        if is_new:
            waiting.append(commit.commit)
    feed.head = commits[-1].commit
    return waiting


def _first_new(head: str | None, commits: Sequence[Commit], rows: Mapping[str, RevisionRow]) -> int:
    """Index of the first commit behind the watermark; of a rewritten branch, behind the last common one.

    At the first reading, and where nothing is common, only the newest is new: nobody asked for a training of
    the whole history.
    """
    recorded = [n for n, c in enumerate(commits) if c.commit == head or c.commit in rows]
    return recorded[-1] + 1 if recorded else len(commits) - 1


def _forget_missing(rows: Mapping[str, RevisionRow], commits: Sequence[Commit]) -> None:
    present = {c.commit for c in commits}
    for row in rows.values():
        if row.commit not in present and row.state != State.STARTED:
            row.state = State.GONE


def _row(feed: RevisionFeed, commit: Commit, position: int, source: Source, state: State) -> RevisionRow:
    return RevisionRow(
        feed_id=feed.id,
        commit=commit.commit,
        position=position,
        date=commit.date,
        author=commit.author,
        title=commit.title,
        tags=[],
        first_seen=now(),
        source=source,
        state=state,
        is_partition=False,
    )


def ask(feed: Feed) -> None:
    """Make the watcher look at the hub now."""
    with database.writing() as session:
        _locked(session, feed).asked_at = now()


def feeds(cluster: str) -> list[Feed]:
    """Return the feeds of a cluster, the one that was read last at first."""
    statement = (
        select(RevisionFeed)
        .where(RevisionFeed.cluster == cluster)
        .order_by(RevisionFeed.checked_at.desc(), RevisionFeed.id)
    )
    with database.reading() as session:
        return [
            Feed(row.cluster, row.recipe, row.dataset_repo, row.branch) for row in session.scalars(statement)
        ]


def listed(feed: Feed, *states: State) -> list[Revision]:
    """Return a feed's revisions in the branch's order, also those that are gone; or those in some states."""
    trained = exists().where(Run.id == Verdict.run_id, Run.fingerprint == RevisionRow.fingerprint)
    statement = (
        select(RevisionRow, trained)
        .join(RevisionFeed, RevisionFeed.id == RevisionRow.feed_id)
        .where(*_is(feed))
        .order_by(RevisionRow.position)
    )
    if states:
        statement = statement.where(RevisionRow.state.in_(states))
    with database.reading() as session:
        return [_revision(row, is_trained) for row, is_trained in session.execute(statement)]


def waiting(feed: Feed) -> list[Revision]:
    """Return the revisions that no run has claimed, and in whose place none was chosen, in order."""
    return listed(feed, State.WAITING)


def unjudged(revisions: Iterable[Revision]) -> list[Revision]:
    """Return the revisions that a run has claimed and none has trained, behind the last that was trained.

    Those before it were overtaken: a newer model than theirs was made.

    Args:
        revisions: A feed's, in the branch's order.
    """
    found: list[Revision] = []
    for revision in revisions:
        if revision.is_trained:
            found = []
        elif revision.state is State.STARTED:
            found.append(revision)
    return found


def claim(
    feed: Feed, commit: str, run_id: str, fingerprint: str, *, is_partition: bool, skips_older: bool
) -> str | None:
    """Give a revision to a run, if no other run has it.

    Args:
        feed: The branch.
        commit: The revision.
        run_id: Airflow's run id.
        fingerprint: Of the run's plan.
        is_partition: Whether the run carries the commit as its partition key.
        skips_older: Whether the revisions before it that wait are not to be trained any more.

    Returns:
        The run id that has it now, this one's or another's; None for a commit that is not recorded.
    """
    claimed = {
        "run_id": run_id,
        "fingerprint": fingerprint,
        "claimed_at": now(),
        "is_partition": is_partition,
        "state": State.STARTED,
    }
    with database.writing() as session:
        of_feed = RevisionRow.feed_id == _locked(session, feed).id
        this = (of_feed, RevisionRow.commit == commit)
        session.execute(update(RevisionRow).where(*this, RevisionRow.run_id.is_(None)).values(claimed))
        row = session.scalar(select(RevisionRow).where(*this))
        if row is None:
            return None
        if skips_older and row.run_id == run_id:
            older = (of_feed, RevisionRow.position < row.position, RevisionRow.state == State.WAITING)
            session.execute(update(RevisionRow).where(*older).values(state=State.SKIPPED))
        return row.run_id


def give_back(feed: Feed, commit: str, run_id: str) -> None:
    """Take a revision away from a run that has claimed it and is gone; it waits again."""
    free = {"run_id": None, "fingerprint": None, "claimed_at": None, "is_partition": False}
    with database.writing() as session:
        of_feed = RevisionRow.feed_id == _locked(session, feed).id
        held = (of_feed, RevisionRow.commit == commit, RevisionRow.run_id == run_id)
        session.execute(update(RevisionRow).where(*held).values(state=State.WAITING, **free))


def _is(feed: Feed) -> tuple[ColumnElement[bool], ...]:
    return (
        RevisionFeed.cluster == feed.cluster,
        RevisionFeed.recipe == feed.recipe,
        RevisionFeed.dataset_repo == feed.dataset_repo,
        RevisionFeed.branch == feed.branch,
    )


def _revision(row: RevisionRow, is_trained: bool) -> Revision:
    return Revision(
        commit=row.commit,
        position=row.position,
        date=row.date,
        author=row.author,
        title=row.title,
        tags=tuple(row.tags),
        first_seen=row.first_seen,
        source=row.source,
        state=State(row.state),
        run_id=row.run_id,
        fingerprint=row.fingerprint,
        is_partition=row.is_partition,
        is_trained=bool(is_trained),
    )
