"""Gangs of a run as a watcher records them, at chosen seconds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sqltune.records import runs, series
from sqltune.records.logstore import check_log_store
from sqltune.records.recorder import RunRecorder
from ssh_gang.event import GangEvent
from ssh_gang.milestone import HostCommand, Milestone
from ssh_gang.progress import Progress
from ssh_gang.ranks import RankReport
from tests.plans import run_plan

BEGAN = datetime(2026, 11, 1, 2, 0, tzinfo=UTC)


def at(seconds: float) -> datetime:
    """A moment after the run began."""
    return BEGAN + timedelta(seconds=seconds)


def iso(seconds: float) -> str:
    """The same, as the API writes it."""
    return at(seconds).isoformat().replace("+00:00", "Z")


class Gang:
    """A gang of a run whose plan is recorded.

    Args:
        task: The task that the gang belongs to.
        run_id: Airflow's run id.
    """

    def __init__(self, task: str = "train", run_id: str = "r1") -> None:
        self.plan = run_plan(run_id)
        check_log_store(self.plan.key)
        runs.put_plan(self.plan)
        self.key = self.plan.key
        self.hosts = [host.name for host in self.plan.cluster.hosts]
        self.recorder = RunRecorder(self.key, f"dag.{task}.{self.key}", task)

    def note(self, attempt: str, kind: str, seconds: float, **fields: object) -> None:
        """Record a milestone."""
        milestone = Milestone(kind=kind, at=at(seconds).timestamp(), **fields)
        self.recorder.milestone(attempt, milestone)

    def launch(self, attempt: str, seconds: float, resumed_from: int = 0) -> None:
        """Record a launch that took three seconds, until every rank had started."""
        self.note(attempt, "submitted", seconds)
        if resumed_from:
            self.note(attempt, "resumed", seconds + 0.5, number=resumed_from)
        commands = [HostCommand(host=host, cwd="~/work", command=f"echo {attempt}") for host in self.hosts]
        self.note(attempt, "prepared", seconds + 1, commands=tuple(commands))
        self.note(attempt, "started", seconds + 2)
        self.note(attempt, "ranks_started", seconds + 3, launch_skew=0.004, launch_skew_error=0.001)

    def steps(self, attempt: str, first: int, last: int, seconds: float, each: float = 2.0) -> None:
        """Record steps, the first of which was seen at `seconds`."""
        for step in range(first, last + 1):
            progress = Progress(step=step, total=40, loss=1.0, seconds_per_step=each)
            series.put_iteration(self.key, attempt, at(seconds + each * (step - first)), progress)

    def checkpoint(self, attempt: str, step: int, seconds: float) -> None:
        """Record that each host sealed its part, a second apart."""
        for number, host in enumerate(self.hosts):
            self.note(attempt, "checkpoint", seconds + number, host=host, number=step)

    def end(self, attempt: str, seconds: float, **event: object) -> None:
        """Record the end."""
        given = {"ok": True, "attempt": attempt, "reason": "every rank ended with exit code 0", "seconds": 1}
        self.note(attempt, "ended", seconds, end=GangEvent(**(given | event)))

    def fail(
        self, attempt: str, seconds: float, advice: str = "a retry starts again", **event: object
    ) -> None:
        """Record a failure that was noticed at `seconds`."""
        failed = {"ok": False, "reason": "host-b rank 1: killed by signal 9, before all others"} | event
        self.note(attempt, "stopping", seconds, reason="host-b: killed by signal 9")
        self.note(attempt, "stopped", seconds + 1)
        self.end(attempt, seconds + 1, **failed)
        self.note(attempt, "failed", seconds + 2, reason=str(failed["reason"]), advice=advice)

    def report(self, rank: int, step: int, seconds: float, each: float = 2.0, attempt: str = "try1") -> None:
        """Record what a rank reported; ranks are on the hosts in turn."""
        report = RankReport(rank=rank, step=step, at=at(seconds).timestamp(), seconds=each)
        self.recorder.rank_reports(attempt, self.hosts[rank], [report])
