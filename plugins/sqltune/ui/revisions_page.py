"""The revisions of a cluster's dataset, as the page shows them."""

from __future__ import annotations

from collections.abc import Mapping

from sqltune.records import revisions as records
from sqltune.records import runs, token_counts, versions
from sqltune.records.revisions import Feed, Revision
from sqltune.records.runs import RunSummary, State
from sqltune.ui.cost import gpu_hours
from sqltune.ui.revision_contracts import Feed as FeedLines
from sqltune.ui.revision_contracts import RevisionLine, Revisions


def revisions(cluster: str) -> Revisions:
    """Return the commits of every branch that is followed for a cluster."""
    hours = {version.run_id: gpu_hours(version.lineage) for version in versions.of_cluster(cluster)}
    return Revisions(feeds=[_feed(feed, hours) for feed in records.feeds(cluster)])


def _feed(feed: Feed, hours: Mapping[str, float | None]) -> FeedLines:
    listed = records.listed(feed)
    judged = runs.judged({r.fingerprint for r in listed if r.fingerprint})
    rows = token_counts.rows_by_commit(feed.dataset_repo)
    return FeedLines(
        recipe=feed.recipe,
        dataset_repo=feed.dataset_repo,
        branch=feed.branch,
        checked_at=records.watermark(feed).checked_at,
        revisions=[
            _line(revision, judged.get(revision.fingerprint or ""), rows, hours)
            for revision in reversed(listed)
        ],
    )


def _line(
    revision: Revision, run: RunSummary | None, rows: Mapping[str, int], hours: Mapping[str, float | None]
) -> RevisionLine:
    run_id = run.run_id if run else revision.run_id
    return RevisionLine(
        commit=revision.commit,
        date=revision.date,
        author=revision.author,
        title=revision.title,
        tags=list(revision.tags),
        state="trained" if revision.is_trained else revision.state.value,
        run_id=run_id,
        rows=rows.get(revision.commit),
        questions=run.questions if run else None,
        matched=run.matched_after if run else None,
        passed=run.state in (State.PASSED, State.PROMOTED) if run else None,
        gpu_hours=hours.get(run_id) if run_id else None,
    )
