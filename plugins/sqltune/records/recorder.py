"""Records the gangs of a run: numbers in the database, whole logs in the log store."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from sqlalchemy.exc import SQLAlchemyError

from sqltune.errors import SqltuneError
from sqltune.records import milestones, series
from sqltune.records.logstore import LogStore, require_log_store_of
from sqltune.records.types import from_timestamp
from ssh_gang.gpus import Gpu
from ssh_gang.milestone import Milestone
from ssh_gang.progress import Progress
from ssh_gang.ranks import RankReport
from ssh_gang.recorder import RecorderRef, RecorderUnavailable

COMPACT_AFTER = 200
"""Blocks of one log after which small ones are joined: a log of one line a second would be many files."""


class RunRecorder:
    """A `GangRecorder` for one gang of a run.

    Args:
        run_key: The run's key in the records.
        gang: Name of the gang; its logs are named after it.
        task: The task of the chain that the gang belongs to; its milestones are found by it.
    """

    def __init__(self, run_key: str, gang: str, task: str = "") -> None:
        self.run_key = run_key
        self.gang = gang
        self.task = task
        self._blocks: Counter[str] = Counter()
        self._has_log_store = False

    @classmethod
    def ref(cls, run_key: str, gang: str, task: str = "") -> RecorderRef:
        """Return a reference that a trigger can carry."""
        return RecorderRef(
            path=f"{cls.__module__}.{cls.__name__}", kwargs={"run_key": run_key, "gang": gang, "task": task}
        )

    def progress(self, attempt: str, at: float, progress: Progress) -> None:
        """Record an iteration in the database."""
        with _database():
            series.put_iteration(self.run_key, attempt, from_timestamp(at), progress)

    def gpu_samples(self, attempt: str, at: float, host: str, samples: Sequence[Gpu]) -> None:
        """Record a host's GPUs in the database."""
        with _database():
            series.put_gpu_samples(self.run_key, attempt, host, from_timestamp(at), samples)

    def rank_reports(self, attempt: str, host: str, reports: Sequence[RankReport]) -> None:
        """Record what ranks have reported in the database, in place of what they had reported before."""
        with _database():
            series.put_rank_states(self.run_key, attempt, host, reports)

    def host_states(self, attempt: str, at: float, states: Mapping[str, str]) -> None:
        """Record the state of each host in the database, in place of the one before."""
        with _database():
            series.put_host_states(self.run_key, from_timestamp(at), states)

    def milestone(self, attempt: str, milestone: Milestone) -> None:
        """Record a moment in the life of an attempt in the database."""
        with _database():
            milestones.put(self.run_key, self.task, attempt, milestone)

    def output(self, attempt: str, host: str, offset: int, data: bytes) -> None:
        """Write a block to the log store."""
        log = self.log_name(attempt, host)
        with _log_store():
            self._require_log_store()
            store = LogStore()
            store.write(self.run_key, log, offset, data)
            self._blocks[log] += 1
            if self._blocks[log] % COMPACT_AFTER == 0:
                store.compact(self.run_key, log)

    def _require_log_store(self) -> None:
        """Check once that the rest of the run's logs are there too, and not on another machine."""
        if not self._has_log_store:
            require_log_store_of(self.run_key)
            self._has_log_store = True

    def last_progress(self, attempt: str) -> Progress | None:
        """Return the iteration of an attempt that was seen last, or None."""
        with _database():
            last = series.last_iteration(self.run_key, attempt)
        return last.progress if last else None

    def log_name(self, attempt: str, host: str) -> str:
        """Return the name of a host's log in the log store."""
        return f"{self.gang}.{attempt}.{host}"


class ProbeRecorder(RunRecorder):
    """Records all of a gang but its iterations, which are not those of the run's training."""

    def progress(self, attempt: str, at: float, progress: Progress) -> None:
        """Record nothing."""

    def last_progress(self, attempt: str) -> Progress | None:
        """Return None: none was recorded."""
        return None


@contextmanager
def _database() -> Iterator[None]:
    try:
        yield
    except (SQLAlchemyError, SqltuneError) as e:
        raise RecorderUnavailable(f"the records' database: {_first_line(e)}") from e


@contextmanager
def _log_store() -> Iterator[None]:
    try:
        yield
    except Exception as e:  # each kind of object storage has exceptions of its own
        raise RecorderUnavailable(f"the log store: {type(e).__name__}: {_first_line(e)}") from e


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0][:300]
