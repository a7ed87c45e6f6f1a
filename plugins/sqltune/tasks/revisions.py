"""Task `list_waiting` of text2sql_revisions; and what `plan` records of the revision that it trains."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from sqltune.config.plan import RunPlan
from sqltune.config.recipe import Revisions
from sqltune.config.watched import BRANCH, watched
from sqltune.contracts import typed_task
from sqltune.errors import HubError
from sqltune.records import revisions
from sqltune.records.revisions import Feed, Revision
from sqltune.records.types import now
from sqltune.revisions.history import follow
from sqltune.revisions.policy import Reason, candidates, next_revision, wait

if TYPE_CHECKING:
    from airflow.sdk.types import DagRunProtocol

log = logging.getLogger(__name__)

SHORT = 12


@typed_task
def list_waiting() -> list[str]:
    """One line for each revision that waits: what it is, and for what it waits."""
    dataset = watched()
    if dataset is None:
        return []
    feed = Feed(dataset.cluster, dataset.recipe, dataset.dataset_repo, dataset.branch)
    waiting = revisions.waiting(feed)
    lines = [
        f"{r.commit[:SHORT]} of {r.date:%Y-%m-%d %H:%M} ({r.title}): {reason(r, waiting, dataset.revisions)}"
        for r in waiting
    ]
    log.info("%d revisions of %s wait\n%s", len(lines), feed.dataset_repo, "\n".join(lines))
    return lines


def reason(revision: Revision, waiting: list[Revision], policy: Revisions) -> str:
    """Say for what a revision waits."""
    match wait(revision, waiting, policy, now()).reason:
        case Reason.NO_TAG:
            return "has no tag"
        case Reason.REPLACED:
            return "a newer one is trained in its place"
        case Reason.NIGHT:
            return "the next night trains it"
    place = candidates(waiting, policy).index(revision) + 1
    following = next_revision(waiting, policy)
    if following and place == 1:
        return f"from {following.at:%Y-%m-%d %H:%M:%S} UTC on, when no other run trains"
    return f"place {place} in the queue"


def feed_of(plan: RunPlan) -> Feed:
    """The feed whose revision a plan trains."""
    return Feed(plan.cluster_name, plan.recipe_name, plan.dataset_repo, BRANCH)


def is_reprocessed(plan: RunPlan, run: DagRunProtocol) -> bool:
    """Whether a backfill was asked to train a revision again.

    Airflow does not tell the run so. But only then it creates a second run for a partition.
    """
    if run.run_type != "backfill":
        return False
    return any(
        r.commit == plan.dataset_commit and r.is_trained and r.is_partition and r.run_id != plan.run_id
        for r in revisions.listed(feed_of(plan))
    )


def claim(plan: RunPlan, is_partition: bool, exists: Callable[[str], bool]) -> None:
    """Record that this run has its revision, where it trains as the recipe says.

    A run with settings of its own leaves the revision to a run that has the recipe's.

    Args:
        plan: The run's plan.
        is_partition: Whether the run carries the commit as its partition key.
        exists: Whether Airflow has a run with this id; what a deleted one has claimed is free.
    """
    if not plan.is_as_recipe:
        return
    feed = feed_of(plan)
    try:
        # Where nothing is watched, the plans record the revisions.
        follow(feed, plan.cluster.hub_endpoint, "plan")
    except HubError as e:
        log.warning("the revisions of %s are not recorded now: %s", feed.dataset_repo, e)
    take = partial(
        revisions.claim,
        feed,
        plan.dataset_commit,
        plan.run_id,
        plan.fingerprint,
        is_partition=is_partition,
        skips_older=plan.recipe.revisions.policy in ("nightly", "newest"),
    )
    owner = take()
    if (
        owner
        and owner in {r.run_id for r in revisions.unjudged(revisions.listed(feed))}
        and not exists(owner)
    ):
        log.info("run %s had claimed this revision, and was deleted", owner)
        revisions.give_back(feed, plan.dataset_commit, owner)
        owner = take()
    if owner and owner != plan.run_id:
        log.info("run %s has claimed this revision before", owner)
