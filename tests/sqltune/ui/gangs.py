"""Gangs of a run as a watcher records them, at chosen seconds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sqltune.node_contracts.preflight import HostCheck, PreflightResponse
from sqltune.records import checkups, runs, series
from sqltune.records.logstore import check_log_store
from sqltune.records.recorder import RunRecorder
from sqltune.records.types import now
from ssh_gang.event import GangEvent
from ssh_gang.milestone import HostCommand, Milestone
from ssh_gang.progress import Progress
from ssh_gang.ranks import RankReport
from tests.host_facts import measured
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


def record_broken(run_id: str) -> str:
    """Record a training that failed, resumed from step 10 and failed again; the run's key."""
    gang = Gang("train", run_id)
    for host, peft in zip(gang.hosts, ("0.14.0", "0.13.0"), strict=True):
        facts = measured(hostname=host, versions={"torch": "2.13.0", "peft": peft})
        checks = [HostCheck(name="disk", value="420.5 GiB", limit="20.0 GiB")]
        checkups.put(gang.key, host, PreflightResponse(facts=facts, checks=checks))
    all_reduce = Gang("all_reduce", run_id)
    later = (now() - BEGAN).total_seconds()
    all_reduce.launch("try1-a", later)
    all_reduce.end("try1-a", later + 10)
    gang.launch("try1-b", later + 20)
    gang.steps("try1-b", 1, 14, seconds=later + 30)
    gang.checkpoint("try1-b", 10, seconds=later + 50)
    gang.fail("try1-b", later + 60)
    gang.launch("try2-c", later + 80, resumed_from=10)
    gang.steps("try2-c", 11, 20, seconds=later + 90)
    for rank, each in ((0, 2.0), (1, 2.9)):
        gang.report(rank, 20, later + 110, each, attempt="try2-c")
        lines = f"[rank {rank}]:loading\n[rank {rank}]:<script>alert({rank})</script>\n"
        gang.recorder.output("try2-c", gang.hosts[rank], 0, lines.encode())
    gang.fail(
        "try2-c",
        later + 120,
        advice="a retry resumes from iteration 10",
        reason="host-b rank 1: exit code 1, before all others",
        failed_host="host-b",
        failed_rank=1,
        failed_exit="exit code 1",
        first_errors=("[host-b rank 1] torch.OutOfMemoryError: CUDA out of memory",),
        progress=Progress(step=20, total=40),
        tail="Traceback (most recent call last):\n<script>alert(2)</script>",
    )
    return gang.key


def record_refused(run_id: str) -> str:
    """Record a run whose second host preflight refused; the run's key."""
    gang = Gang("train", run_id)
    problem = "3.1 GiB are free under /code, 20.0 are required: delete old runs there"
    for host, found in zip(gang.hosts, (None, problem), strict=True):
        check = HostCheck(name="disk", value="3.1 GiB", limit="20.0 GiB", problem=found)
        checkups.put(gang.key, host, PreflightResponse(facts=measured(hostname=host), checks=[check]))
    return gang.key
