"""The revisions of a cluster's dataset, as the page shows them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqltune.config.watched import STALE, watched
from sqltune.records import claims, runs, token_counts, versions
from sqltune.records import revisions as records
from sqltune.records.revisions import Feed, Revision, Watermark
from sqltune.records.revisions import State as RevisionState
from sqltune.records.runs import RunSummary, State
from sqltune.records.types import now
from sqltune.revisions import policy
from sqltune.ui.revision_contracts import (
    CommitQueue,
    Owner,
    QueuedCommit,
    RevisionLine,
    Revisions,
    Turn,
    Wait,
)
from sqltune.ui.revision_contracts import Feed as FeedLines


def revisions(cluster: str) -> Revisions:
    """Return the commits of every branch that is followed for a cluster."""
    hours = versions.gpu_hours(cluster)
    return Revisions(feeds=[_feed(feed, hours) for feed in records.feeds(cluster)])


def queue() -> CommitQueue:
    """Return the commits of the watched dataset that will be trained by themselves, in order."""
    feed = _watched_feed()
    if feed is None:
        return CommitQueue(commits=[])
    waiting = records.waiting(feed)
    waits = _waits(feed, records.watermark(feed), waiting)
    return CommitQueue(
        commits=[
            QueuedCommit(commit=r.commit, title=r.title, first_seen=r.first_seen, wait=waits[r.commit])
            for r in waiting
            if waits[r.commit].reason in ("turn", "quiet", "night")
        ]
    )


def _watched_feed() -> Feed | None:
    w = watched()
    return Feed(w.cluster, w.recipe, w.dataset_repo, w.branch) if w else None


def turn(key: str) -> Turn:
    """Return whose turn comes before a run's."""
    ahead = claims.ahead_of(key)
    return Turn(ahead=Owner(dag_id=ahead.dag_id, run_id=ahead.run_id) if ahead else None)


def _feed(feed: Feed, hours: Mapping[str, float]) -> FeedLines:
    listed = records.listed(feed)
    judged = runs.judged(feed.cluster, {r.fingerprint for r in listed if r.fingerprint})
    rows = token_counts.rows_by_commit(feed.dataset_repo)
    watermark = records.watermark(feed)
    waits = _waits(feed, watermark, [r for r in listed if r.state is RevisionState.WAITING])
    return FeedLines(
        recipe=feed.recipe,
        dataset_repo=feed.dataset_repo,
        branch=feed.branch,
        checked_at=watermark.checked_at,
        revisions=[
            _line(revision, waits.get(revision.commit), judged.get(revision.fingerprint or ""), rows, hours)
            for revision in reversed(listed)
        ],
    )


def _waits(feed: Feed, watermark: Watermark, waiting: Sequence[Revision]) -> dict[str, Wait]:
    """For what each of the commits waits: as `RevisionTimetable` decides, which reads the same records."""
    dataset = watched()
    if dataset is None or feed != _watched_feed():
        return {r.commit: Wait(reason="unwatched", until=None) for r in waiting}
    if not watermark.is_fresh(STALE):
        return {r.commit: Wait(reason="stale", until=None) for r in waiting}
    found = {r.commit: policy.wait(r, waiting, dataset.revisions, now()) for r in waiting}
    return {commit: Wait(reason=w.reason.value, until=w.until) for commit, w in found.items()}


def _line(
    revision: Revision,
    wait: Wait | None,
    run: RunSummary | None,
    rows: Mapping[str, int],
    hours: Mapping[str, float],
) -> RevisionLine:
    run_id = run.run_id if run else revision.run_id
    return RevisionLine(
        commit=revision.commit,
        date=revision.date,
        author=revision.author,
        title=revision.title,
        tags=list(revision.tags),
        state="trained" if revision.is_trained else revision.state.value,
        wait=wait,
        run_id=run_id,
        rows=rows.get(revision.commit),
        questions=run.questions if run else None,
        matched=run.matched_after if run else None,
        passed=run.state in (State.PASSED, State.PROMOTED) if run else None,
        gpu_hours=hours.get(run_id) if run_id else None,
    )
