"""Series of a training: iterations, samples of the GPUs, and the state of each host."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, func, select

from sqltune.records import database
from sqltune.records.models import GpuSample, HostState, Iteration, RankState
from sqltune.records.runs import number, touch
from sqltune.records.types import from_timestamp
from ssh_gang.gpus import Gpu
from ssh_gang.progress import Progress
from ssh_gang.ranks import RankReport


@dataclass(frozen=True)
class IterationPoint:
    """One iteration, with the attempt that took it and the moment it was seen."""

    attempt: str
    at: datetime
    progress: Progress


@dataclass(frozen=True)
class HostPoint:
    """The state of one host of a training."""

    state: str
    at: datetime
    """When the watcher noticed it."""


@dataclass(frozen=True)
class AttemptSpan:
    """The iterations of one attempt."""

    attempt: str
    first_step: int
    first_at: datetime
    last_step: int
    last_at: datetime


@dataclass(frozen=True)
class RankPoint:
    """What one rank has reported last, and when."""

    host: str
    attempt: str
    at: datetime
    report: RankReport


@dataclass(frozen=True)
class GpuPoint:
    """One GPU at one moment."""

    host: str
    attempt: str
    at: datetime
    gpu: Gpu


def put_iteration(run_key: str, attempt: str, at: datetime, progress: Progress) -> None:
    """Record an iteration; recording it twice stores it once, as it was seen first.

    A watcher that takes over may read lines again before it knows where the training stood.
    """
    with database.writing() as session:
        run = number(session, run_key)
        row = {"run_id": run, "attempt": attempt, "at": at} | progress.model_dump()
        database.upsert(session, Iteration, [row], keys=["run_id", "attempt", "step"], update=False)
        touch(session, run)


def put_gpu_samples(run_key: str, attempt: str, host: str, at: datetime, gpus: Sequence[Gpu]) -> None:
    """Record a host's GPUs at one moment; recording them twice stores them once."""
    with database.writing() as session:
        run = number(session, run_key)
        rows = [
            {
                "run_id": run,
                "host": host,
                "gpu": gpu.index,
                "at": at,
                "attempt": attempt,
                "use": gpu.use,
                "memory_used": gpu.memory_used,
                "memory_total": gpu.memory_total,
                "temperature": gpu.temperature,
            }
            for gpu in gpus
        ]
        database.upsert(session, GpuSample, rows, keys=["run_id", "host", "gpu", "at"])
        touch(session, run)


def put_rank_states(run_key: str, attempt: str, host: str, reports: Sequence[RankReport]) -> None:
    """Record what ranks of a host have reported, in place of what they had reported before."""
    with database.writing() as session:
        run = number(session, run_key)
        rows = [
            report.model_dump(exclude={"at"})
            | {"run_id": run, "attempt": attempt, "host": host, "at": from_timestamp(report.at)}
            for report in reports
        ]
        database.upsert(session, RankState, rows, keys=["run_id", "rank"])
        touch(session, run)


def put_host_states(run_key: str, at: datetime, states: Mapping[str, str]) -> None:
    """Record the state of each host of a training at a moment, in place of the one before."""
    with database.writing() as session:
        run = number(session, run_key)
        rows = [{"run_id": run, "host": h, "state": s, "at": at} for h, s in sorted(states.items())]
        database.upsert(session, HostState, rows, keys=["run_id", "host"])
        touch(session, run)


def iterations(run_key: str, since: datetime | None = None) -> list[IterationPoint]:
    """Return a run's iterations by step; a step that a later attempt took again is the later attempt's.

    Args:
        run_key: The run.
        since: Only iterations that were seen at this moment or later.
    """
    by_step: dict[int, IterationPoint] = {}
    with database.reading() as session:
        statement = _ITERATIONS.where(Iteration.run_id == number(session, run_key))
        if since is not None:
            statement = statement.where(Iteration.at >= since)
        for row in session.execute(statement.order_by(Iteration.step, Iteration.at)):
            point = _point(row)
            by_step[point.progress.step] = point
    return list(by_step.values())


def attempt_spans(run_key: str) -> list[AttemptSpan]:
    """Return the first and the last iteration of each attempt, the earliest attempt first."""
    columns = (
        func.min(Iteration.step),
        func.min(Iteration.at),
        func.max(Iteration.step),
        func.max(Iteration.at),
    )
    with database.reading() as session:
        statement = (
            select(Iteration.attempt, *columns)
            .where(Iteration.run_id == number(session, run_key))
            .group_by(Iteration.attempt)
            .order_by(func.min(Iteration.at))
        )
        return [AttemptSpan(*row) for row in session.execute(statement)]


def step_seconds(run_key: str, attempt: str, after: int = 0, up_to: int | None = None) -> float:
    """Return the seconds that an attempt took for some of its steps, as the training itself counted them.

    A line of the log may stand for several steps: it counts for those since the line before.

    Args:
        run_key: The run.
        attempt: The attempt.
        after: The step that it began behind: 0, or that of the checkpoint it resumed from.
        up_to: The last step that counts; None for all.
    """
    with database.reading() as session:
        before = func.coalesce(func.lag(Iteration.step).over(order_by=Iteration.step), after)
        statement = select(
            (Iteration.step - before).label("steps"), Iteration.seconds_per_step.label("seconds")
        ).where(Iteration.run_id == number(session, run_key), Iteration.attempt == attempt)
        if up_to is not None:
            statement = statement.where(Iteration.step <= up_to)
        lines = statement.subquery()
        return session.scalar(select(func.sum(lines.c.steps * lines.c.seconds))) or 0.0


def every_iteration(run_key: str) -> list[IterationPoint]:
    """Return the iterations of all attempts, in the order in which they were seen."""
    with database.reading() as session:
        statement = _ITERATIONS.where(Iteration.run_id == number(session, run_key))
        return [_point(row) for row in session.execute(statement.order_by(Iteration.at, Iteration.step))]


def last_iteration(run_key: str, attempt: str | None = None) -> IterationPoint | None:
    """Return the iteration that was seen last, of one attempt or of all; None before the first."""
    with database.reading() as session:
        statement = _ITERATIONS.where(Iteration.run_id == number(session, run_key))
        if attempt is not None:
            statement = statement.where(Iteration.attempt == attempt)
        latest = statement.order_by(Iteration.at.desc(), Iteration.step.desc()).limit(1)
        row = session.execute(latest).one_or_none()
        return None if row is None else _point(row)


def gpu_samples(run_key: str) -> list[GpuPoint]:
    """Return the samples of a run's GPUs, by host, GPU and moment."""
    with database.reading() as session:
        statement = _GPU_SAMPLES.where(GpuSample.run_id == number(session, run_key))
        return [_gpu(row) for row in session.execute(statement)]


def last_gpu_samples(run_key: str) -> list[GpuPoint]:
    """Return the newest sample of each GPU of a run, by host and GPU."""
    with database.reading() as session:
        run = number(session, run_key)
        newest = (
            select(GpuSample.host, GpuSample.gpu, func.max(GpuSample.at).label("at"))
            .where(GpuSample.run_id == run)
            .group_by(GpuSample.host, GpuSample.gpu)
            .subquery()
        )
        same = (
            (GpuSample.host == newest.c.host)
            & (GpuSample.gpu == newest.c.gpu)
            & (GpuSample.at == newest.c.at)
        )
        statement = _GPU_SAMPLES.join(newest, same).where(GpuSample.run_id == run)
        return [_gpu(row) for row in session.execute(statement)]


def host_states(run_key: str) -> dict[str, HostPoint]:
    """Return the state of each host of a training, by its name."""
    with database.reading() as session:
        statement = select(HostState).where(HostState.run_id == number(session, run_key))
        return {
            row.host: HostPoint(row.state, row.at)
            for row in session.scalars(statement.order_by(HostState.host))
        }


def rank_states(run_key: str) -> list[RankPoint]:
    """Return what each rank of a training has reported last, by rank."""
    with database.reading() as session:
        statement = select(RankState).where(RankState.run_id == number(session, run_key))
        return [
            RankPoint(
                host=row.host,
                attempt=row.attempt,
                at=row.at,
                report=RankReport(
                    rank=row.rank,
                    step=row.step,
                    at=row.at.timestamp(),
                    seconds=row.seconds,
                    data_seconds=row.data_seconds,
                    memory=row.memory,
                ),
            )
            for row in session.scalars(statement.order_by(RankState.rank))
        ]


_FIELDS = tuple(Progress.model_fields)
# Columns and not objects: a chart needs thousands of rows in an instant.
_ITERATIONS = select(Iteration.attempt, Iteration.at, *(getattr(Iteration, name) for name in _FIELDS))


_GPU_SAMPLES = select(
    GpuSample.host,
    GpuSample.attempt,
    GpuSample.at,
    GpuSample.gpu,
    GpuSample.use,
    GpuSample.memory_used,
    GpuSample.memory_total,
    GpuSample.temperature,
).order_by(GpuSample.host, GpuSample.gpu, GpuSample.at)


def _gpu(row: Row[*tuple[Any, ...]]) -> GpuPoint:
    host, attempt, at, index, use, used, total, temperature = row
    gpu = Gpu(index=index, use=use, memory_used=used, memory_total=total, temperature=temperature)
    return GpuPoint(host, attempt, at, gpu)


def _point(row: Row[*tuple[Any, ...]]) -> IterationPoint:
    attempt, at, *values = row
    return IterationPoint(attempt, at, Progress(**dict(zip(_FIELDS, values, strict=True))))
