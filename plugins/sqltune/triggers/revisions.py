"""The watcher of the dataset's branch. It looks at the hub every minute, or at once after a webhook."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from typing import Any

from airflow.sdk import Asset, AssetWatcher
from airflow.triggers.base import BaseEventTrigger, TriggerEvent

from sqltune.config.watched import watched
from sqltune.environment import setting

log = logging.getLogger(__name__)

ASSET = "text2sql_dataset"
WEBHOOK_POLL = 2.0
"""Seconds between two looks whether a webhook has come."""


def dataset_asset() -> Asset:
    """Return the watched dataset as an asset; without a watcher where SQLTUNE_WATCH_SECONDS is 0."""
    dataset = watched()
    seconds = float(setting("SQLTUNE_WATCH_SECONDS", "60"))
    if dataset is None or seconds <= 0:
        return Asset(ASSET)
    trigger = RevisionTrigger(
        cluster=dataset.cluster,
        recipe=dataset.recipe,
        dataset_repo=dataset.dataset_repo,
        branch=dataset.branch,
        endpoint=dataset.hub_endpoint,
        seconds=seconds,
    )
    return Asset(ASSET, watchers=[AssetWatcher(name="text2sql_revisions", trigger=trigger)])


class RevisionTrigger(BaseEventTrigger):
    """Records each new commit of a branch, and fires an event for them.

    The records hold the watermark. An event that is lost with the triggerer is made up at the next start,
    for all revisions that wait; nothing but a list in a log depends on it.
    """

    def __init__(
        self, *, cluster: str, recipe: str, dataset_repo: str, branch: str, endpoint: str, seconds: float
    ) -> None:
        """Make the trigger.

        Args:
            cluster: The cluster that trains.
            recipe: The recipe with which it does.
            dataset_repo: The dataset repository, as owner/name.
            branch: Its branch.
            endpoint: Address of the hub.
            seconds: Between two looks at the hub.
        """
        super().__init__()  # type: ignore[no-untyped-call] # Airflow's
        self.cluster = cluster
        self.recipe = recipe
        self.dataset_repo = dataset_repo
        self.branch = branch
        self.endpoint = endpoint
        self.seconds = seconds

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class and its arguments."""
        names = ("cluster", "recipe", "dataset_repo", "branch", "endpoint", "seconds")
        return f"{__name__}.{type(self).__qualname__}", {name: getattr(self, name) for name in names}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look at the hub again and again; an event for each look that has found commits."""
        problem = ""
        is_first = True
        while True:
            try:
                commits = await asyncio.to_thread(self._look, is_first)
                is_first = False
                problem = ""
            except Exception as e:
                # Whatever it is, a watcher that ended would not be started again. Each problem is told once.
                commits = []
                if str(e) != problem:
                    problem = str(e)
                    log.warning("%s of %s cannot be watched: %s", self.branch, self.dataset_repo, e)
            if commits:
                yield TriggerEvent({"dataset": self.dataset_repo, "branch": self.branch, "commits": commits})
            await self._pause()

    def _look(self, is_first: bool) -> list[str]:
        """Record what is new; return it, at the first look together with all that waits."""
        from sqltune.records import revisions
        from sqltune.revisions.history import follow

        new = follow(self._feed(), self.endpoint, "watcher")
        return [revision.commit for revision in revisions.waiting(self._feed())] if is_first else new

    async def _pause(self) -> None:
        """Wait until the next look is due, or a webhook has come."""
        due = time.monotonic() + self.seconds
        while (left := due - time.monotonic()) > 0:
            await asyncio.sleep(min(left, WEBHOOK_POLL))
            if await asyncio.to_thread(self._is_asked):
                return

    def _is_asked(self) -> bool:
        from sqlalchemy.exc import SQLAlchemyError

        from sqltune.records import revisions

        try:
            mark = revisions.watermark(self._feed())
        except SQLAlchemyError:
            return False
        return mark.asked_at is not None and (mark.checked_at is None or mark.checked_at < mark.asked_at)

    def _feed(self) -> Any:
        from sqltune.records.revisions import Feed

        return Feed(self.cluster, self.recipe, self.dataset_repo, self.branch)
