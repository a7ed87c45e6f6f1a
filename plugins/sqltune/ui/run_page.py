"""One run as the page shows it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from itertools import groupby
from typing import Any

from pydantic import JsonValue

from sqltune.evaluation import stored
from sqltune.records import evaluations, runs, series, versions
from sqltune.records.runs import RunSummary
from sqltune.records.series import IterationPoint
from sqltune.ui import contracts
from sqltune.ui.cost import gpu_hours, price
from sqltune.ui.downsampling import min_max
from sqltune.ui.errors import NotRecorded
from ssh_gang.model import slug


def run_list(cluster: str | None, limit: int, offset: int) -> contracts.RunList:
    """Return a page of the list of runs, the newest first."""
    return contracts.RunList(
        total=runs.count(cluster), runs=[_line(run) for run in runs.summaries(cluster, limit, offset)]
    )


def resolve(run: str) -> str:
    """Return a run's key, from its key or from Airflow's run id.

    Raises:
        NotRecorded: The records have no such run.
    """
    if key := runs.find(run, slug(run)):
        return key
    raise NotRecorded(
        f"run {run!r} is not in the records: its task `plan` records it first, and runs of other DAGs are "
        "never recorded"
    )


def head(key: str) -> contracts.RunHead:
    """Return one run at a glance."""
    summary, plan = _summary(key), _plan(key)
    champion = plan.get("champion")
    verdict, last, evaluation = stored.verdict(key), series.last_iteration(key), evaluations.progress(key)
    version = versions.find(summary.cluster, summary.version) if summary.version else None
    hours = gpu_hours(version.lineage) if version else None
    return contracts.RunHead(
        **_line(summary).model_dump(),
        dataset_date=plan.get("dataset_date", ""),
        champion=champion["version"] if champion else None,
        verdict=verdict.headline if verdict else None,
        training=_training(last) if last else None,
        evaluation=contracts.Progress(
            phase=evaluation.phase, answered=evaluation.answered, questions=evaluation.questions
        )
        if evaluation
        else None,
        gpu_hours=hours,
        price=price(plan["cluster"].get("gpu_hour_price"), hours),
    )


def curves(key: str, points: int, after: datetime | None = None) -> contracts.Series:
    """Return the curves of a run's training.

    Args:
        key: The run.
        points: How many points a curve may have; a longer one keeps its lowest and highest ones.
        after: `cursor` of an earlier answer: only what came at its moment or later.
    """
    new = series.iterations(key, after)
    attempts: dict[str, int] = {}
    for point in new:
        attempts.setdefault(point.attempt, point.progress.step)
    return contracts.Series(
        total=new[-1].progress.total if new else 0,
        attempts=attempts,
        cursor=max((point.at for point in new), default=after),
        loss=_curve(new, "loss", points),
        lr=_curve(new, "lr", points),
        seconds_per_step=_curve(new, "seconds_per_step", points),
        tokens_per_second=_curve(new, "tokens_per_second", points),
    )


def gpus(key: str, points: int) -> list[contracts.GpuLine]:
    """Return each GPU of a run over time."""
    lines = []
    for (host, gpu), group in groupby(series.gpu_samples(key), lambda s: (s.host, s.gpu.index)):
        samples = list(group)
        chosen = [samples[i] for i in min_max([s.gpu.use for s in samples], points)]
        lines.append(
            contracts.GpuLine(
                host=host,
                gpu=gpu,
                at=[s.at for s in chosen],
                use=[s.gpu.use for s in chosen],
                memory_used=[s.gpu.memory_used for s in chosen],
                memory_total=samples[-1].gpu.memory_total,
            )
        )
    return lines


def plan(key: str, against: str | None = None) -> contracts.Plan:
    """Return what a run runs with, beside the plan of another run where one is named."""
    settings = dict(_flat(_plan(key)))
    other = dict(_flat(_plan(against))) if against else settings
    return contracts.Plan(
        settings=[
            contracts.Setting(
                name=name,
                value=settings.get(name),
                other=other.get(name),
                differs=settings.get(name) != other.get(name),
            )
            for name in sorted(settings.keys() | other.keys())
        ],
        against=against,
    )


def _line(summary: RunSummary) -> contracts.RunLine:
    return contracts.RunLine.model_validate(summary, from_attributes=True)


def _summary(key: str) -> RunSummary:
    summary = runs.summary(key)
    if summary is None:
        raise NotRecorded(f"run {key!r} is not in the records")
    return summary


def _plan(key: str) -> dict[str, Any]:
    # Not a RunPlan: a run of an earlier version is shown too, whose plan had other fields.
    plan = runs.plan(key)
    if plan is None:
        raise NotRecorded(f"run {key!r} is not in the records")
    return plan


def _training(point: IterationPoint) -> contracts.Training:
    progress = point.progress
    return contracts.Training(
        attempt=point.attempt,
        step=progress.step,
        total=progress.total,
        loss=progress.loss,
        eta=progress.eta,
        at=point.at,
    )


def _curve(points: list[IterationPoint], field: str, limit: int) -> contracts.Line:
    values: list[float | None] = [getattr(point.progress, field) for point in points]
    chosen = min_max(values, limit)
    return contracts.Line(steps=[points[i].progress.step for i in chosen], values=[values[i] for i in chosen])


def _flat(value: JsonValue, path: str = "") -> Iterator[tuple[str, JsonValue]]:
    """Yield the leaves of a JSON document with their paths."""
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from _flat(inner, f"{path}.{name}" if path else name)
    elif isinstance(value, list) and any(isinstance(inner, dict) for inner in value):
        for index, inner in enumerate(value):
            yield from _flat(inner, f"{path}[{index}]")
    else:
        yield path, value
