"""The schedule of `text2sql_retrain`: its partitions are the dataset's revisions; docs/revisions.md.

Airflow asks it in the dag-processor and in the scheduler. It reads the records, never the hub.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, time, timedelta
from typing import TYPE_CHECKING, Any, Literal

from airflow.exceptions import InvalidPartitionKeyError
from airflow.sdk.timezone import coerce_datetime, utcnow
from airflow.timetables.base import DagRunInfo
from airflow.timetables.trigger import CronTriggerTimetable

from sqltune.config.recipe import Revisions
from sqltune.config.watched import STALE, Watched, watched

if TYPE_CHECKING:
    from airflow.timetables.base import DataInterval, TimeRestriction
    from airflow.utils.types import DagRunType
    from pendulum import DateTime

    from sqltune.records.revisions import Feed, Revision

log = logging.getLogger(__name__)

NIGHT = "night-%Y-%m-%dT%H:%M:%SZ"
"""Partition key of a night whose commit the run itself has to look for."""
FIRST_NIGHT = timedelta(minutes=1)
"""For this long the first night is due: until the scheduler has looked, nobody may call it past."""
COMMIT = re.compile(r"[0-9a-f]{40}")
SHORT = 12
"""Characters of a commit in a run id."""
DAY = timedelta(days=1) - timedelta(microseconds=1)


def schedule(cron: str, dag_id: str) -> RevisionTimetable:
    """Return the schedule of a DAG that trains the watched dataset.

    Args:
        cron: When the nightly run is, in UTC.
        dag_id: The DAG.
    """
    return RevisionTimetable(cron, dag_id=dag_id, watched=watched())


def commit_of(partition_key: str | None) -> str | None:
    """Return the commit that a partition key is, or None where it is a night's, or there is none."""
    return partition_key if partition_key and COMMIT.fullmatch(partition_key) else None


def run_id_suffix(run_after: datetime, commit: str) -> str:
    """Return the part of a run id that follows its type: moment and commit."""
    return f"{run_after.isoformat()}__{commit[:SHORT]}"


class RevisionTimetable(CronTriggerTimetable):
    """Names the next revision to train; lists those of a range of dates for a backfill."""

    partitioned = True

    def __init__(self, cron: str, *, dag_id: str, watched: Watched | None) -> None:
        """Make the schedule.

        Args:
            cron: When the nightly run is, in UTC.
            dag_id: The DAG whose runs train the revisions.
            watched: The dataset; None makes every night a run that looks for its commit itself.
        """
        # A zero, because False, the default, still makes the past run in the first tenth of the interval.
        super().__init__(cron, timezone="UTC", run_immediately=timedelta(0))
        self.dag_id = dag_id
        self.watched = watched

    def __eq__(self, other: object) -> bool:
        # Airflow asks for each mapped task that it adds to a DAG; its own comparison imports its models.
        if not isinstance(other, RevisionTimetable):
            return NotImplemented
        return self.serialize() == other.serialize()

    __hash__ = CronTriggerTimetable.__hash__

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> RevisionTimetable:
        """Make the schedule from `serialize`'s result."""
        dataset = Watched.model_validate(data["watched"]) if data["watched"] else None
        return cls(data["expression"], dag_id=data["dag_id"], watched=dataset)

    def serialize(self) -> dict[str, Any]:
        """Return what Airflow stores of the schedule."""
        dataset = self.watched.model_dump(mode="json") if self.watched else None
        return {"expression": self._expression, "dag_id": self.dag_id, "watched": dataset}

    def generate_run_id(
        self,
        *,
        run_type: DagRunType,
        run_after: DateTime,
        data_interval: DataInterval | None,
        **extra: Any,
    ) -> str:
        """Return a run id that carries the commit, where there is one."""
        commit = commit_of(extra.get("partition_key"))
        suffix = run_id_suffix(run_after, commit) if commit else run_after.isoformat()
        return run_type.generate_run_id(suffix=suffix)

    def next_dagrun_info_v2(
        self, *, last_dagrun_info: DagRunInfo | None, restriction: TimeRestriction
    ) -> DagRunInfo | None:
        """Return the next run: a revision's as soon as its policy wants it, or the next night's."""
        waiting, with_run = self._waiting(last_dagrun_info)
        runs = [self._revision_run(waiting, with_run), self._night_run(last_dagrun_info, waiting, with_run)]
        return min((run for run in runs if run), key=lambda run: run.run_after, default=None)

    def _revision_run(self, waiting: Sequence[Revision] | None, with_run: set[str]) -> DagRunInfo | None:
        from sqltune.revisions.policy import next_revision

        chosen = next_revision(waiting or (), self._policy, with_run)
        return _info(chosen.revision, chosen.at) if chosen else None

    def _night_run(
        self, last: DagRunInfo | None, waiting: Sequence[Revision] | None, with_run: set[str]
    ) -> DagRunInfo | None:
        """The first night that has something to train: the last one, if it was missed, or the next one."""
        now = coerce_datetime(utcnow())
        missed = self._align_to_prev(now)
        is_missed = missed > last.run_after if last else now - missed < FIRST_NIGHT
        nights = [*([missed] if is_missed else []), self._get_next(now)]
        return next(filter(None, (self._night(night, waiting, with_run) for night in nights)), None)

    def _night(
        self, night: DateTime, waiting: Sequence[Revision] | None, with_run: set[str]
    ) -> DagRunInfo | None:
        from sqltune.revisions.policy import tonight

        policy = self._policy.policy
        if waiting is None and policy != "tagged":
            return DagRunInfo(night, None, partition_date=night, partition_key=night.strftime(NIGHT))
        if waiting is None or policy != "nightly":
            return None
        revision = tonight(waiting, night, with_run)
        return _info(revision, night) if revision else None

    @property
    def _policy(self) -> Revisions:
        return self.watched.revisions if self.watched else Revisions()

    @property
    def _feed(self) -> Feed | None:
        from sqltune.records.revisions import Feed

        w = self.watched
        return Feed(w.cluster, w.recipe, w.dataset_repo, w.branch) if w else None

    def _waiting(self, last: DagRunInfo | None) -> tuple[list[Revision] | None, set[str]]:
        """The revisions that wait, and those of them that have a run.

        None in place of the first where the records do not know: nothing is watched, the watcher has not
        reached the hub for a while, or the database does not answer. The night's run then looks itself.
        """
        from sqlalchemy.exc import SQLAlchemyError

        from sqltune.errors import SqltuneError
        from sqltune.records import revisions

        feed = self._feed
        try:
            if feed is None or not revisions.watermark(feed).is_fresh(STALE):
                return None, set()
            listed = revisions.listed(feed)
        except (SqltuneError, SQLAlchemyError) as e:
            log.warning("the records' database cannot be read: %s", e)
            return None, set()
        waiting = [revision for revision in listed if revision.state is revisions.State.WAITING]
        if unjudged := revisions.unjudged(listed):
            existing = self._existing([str(revision.run_id) for revision in unjudged])
            # What a run has claimed that was deleted waits again.
            waiting += [revision for revision in unjudged if revision.run_id not in existing]
            waiting.sort(key=lambda revision: revision.position)
        with_run = self._with_run([revision.commit for revision in waiting])
        # The scheduler asks before it has committed the run that it has just created.
        return waiting, with_run | ({last.partition_key} if last and last.partition_key else set())

    def _with_run(self, commits: Sequence[str]) -> set[str]:
        """Those of the commits that are the partition of a run of the DAG.

        The scheduler and the dag-processor hold a lock on the DAG's row when they ask, so no run is created
        between this query and their decision.
        """
        return self._of_runs("partition_key", commits, of_this_dag=True)

    def _existing(self, run_ids: Sequence[str]) -> set[str]:
        """Those of the run ids that a run has, also one of a copy of the DAG."""
        return self._of_runs("run_id", run_ids, of_this_dag=False)

    def _of_runs(
        self, column: Literal["partition_key", "run_id"], values: Sequence[str], *, of_this_dag: bool
    ) -> set[str]:
        """Those of the values that a run has in a column."""
        if not values:
            return set()
        from airflow.models.dagrun import DagRun
        from airflow.utils.session import create_session
        from sqlalchemy import select

        found = getattr(DagRun, column)
        statement = select(found).where(found.in_(values))
        if of_this_dag:
            statement = statement.where(DagRun.dag_id == self.dag_id)
        # Of its own: the usual one is the caller's, and would be closed at the end.
        with create_session(scoped=False) as session:
            return {str(value) for value in session.scalars(statement)}

    def iter_partition_dagrun_infos(self, *, earliest: datetime, latest: datetime) -> Iterable[DagRunInfo]:
        """Return the revisions with a date in the range, in the branch's order, for a backfill.

        Airflow leaves out those with a run of their own, unless reprocessing is asked for. A revision that
        was trained by another run, such as one of the form, is left out here.
        """
        from sqltune.records import revisions
        from sqltune.records.revisions import State

        feed = self._feed
        first = self.localize_partition_datetime(earliest)
        last = self.localize_partition_datetime(latest)
        if last.time() == time.min:
            last += DAY
        # With the commit's date, this run would be the last one before last night, which would be missed.
        now = coerce_datetime(utcnow())
        for revision in revisions.listed(feed) if feed else ():
            if revision.state is State.GONE or (revision.is_trained and not revision.is_partition):
                continue
            if first <= revision.date <= last:
                yield _info(revision, now)

    def _decode_partition_date(self, partition_key: str) -> datetime | None:
        from sqltune.records import revisions

        if not commit_of(partition_key):
            try:
                return datetime.strptime(partition_key, NIGHT).replace(tzinfo=UTC)
            except ValueError:
                raise InvalidPartitionKeyError(
                    f"partition_key {partition_key!r} is not a commit: use its 40 hexadecimal digits"
                ) from None
        feed = self._feed
        for revision in revisions.listed(feed) if feed else ():
            if revision.commit == partition_key:
                return revision.partition_date
        raise InvalidPartitionKeyError(
            f"partition_key {partition_key} is not a recorded commit of "
            f"{feed.dataset_repo if feed else 'a watched dataset'}: list them with `sqltune revisions`"
        )


def _info(revision: Revision, run_after: datetime) -> DagRunInfo:
    return DagRunInfo(
        run_after=coerce_datetime(run_after),
        data_interval=None,
        partition_date=coerce_datetime(revision.partition_date),
        partition_key=revision.commit,
    )
