"""One run as the page shows it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from itertools import groupby
from typing import Any

from pydantic import JsonValue

from sqltune.evaluation import stored
from sqltune.records import evaluations, runs, series, versions
from sqltune.records.logstore import LogStore
from sqltune.records.runs import RunSummary
from sqltune.records.series import IterationPoint
from sqltune.ui import contracts
from sqltune.ui.cost import gpu_hours, price
from sqltune.ui.downsampling import min_max
from sqltune.ui.errors import NotRecorded
from ssh_gang.model import slug

LOG_BYTES_A_LINE = 400
"""Bytes read from the end of a log for each line that is asked for."""
TRAINING = "train"
"""Gang whose logs the strip of hosts shows."""


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
    for key in (run, slug(run)):
        if runs.summary(key) is not None:
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


def hosts(key: str) -> list[contracts.Host]:
    """Return the hosts of a run's cluster, with what is known of the training on each."""
    states = series.host_states(key)
    names = LogStore().names(key)
    return [
        contracts.Host(
            name=host["name"],
            processes=host["processes"],
            state=states[host["name"]].state if host["name"] in states else "",
            at=states[host["name"]].at if host["name"] in states else None,
            logs=[name for name in names if name.endswith(f".{host['name']}")],
        )
        for host in _plan(key)["cluster"]["hosts"]
    ]


def log(key: str, name: str, lines: int) -> contracts.Log:
    """Return the last lines of one of a run's logs.

    Raises:
        NotRecorded: The run has no such log.
    """
    store = LogStore()
    if name not in store.names(key):
        raise NotRecorded(f"run {key!r} has no log {name!r} in the log store")
    size = store.size(key, name)
    data = store.read(key, name, max(0, size - lines * LOG_BYTES_A_LINE))
    text = "\n".join(data.decode(errors="replace").splitlines()[-lines:])
    return contracts.Log(name=name, size=size, text=text)


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
