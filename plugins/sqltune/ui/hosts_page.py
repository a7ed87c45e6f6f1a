"""The hosts and ranks of a run's training, and the ends of their logs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqltune.records import checkups, milestones, runs, series
from sqltune.records.attempts import TRAINING
from sqltune.records.logstore import LogStore
from sqltune.records.milestones import RecordedMilestone
from sqltune.records.series import GpuPoint, HostPoint, RankPoint
from sqltune.ui.errors import NotRecorded
from sqltune.ui.failure_page import gang_failure
from sqltune.ui.gang_contracts import Checkup, Failure, Flag, GpuNow, Host, Log, Preflight, Rank
from ssh_gang.log import split_ranks

LINE = 400
"""Bytes that are read of a log for each line that is asked for."""
RANKS_A_HOST = 8
"""Ranks between whose lines a host's log has those of one, at most: more would be read for a rank's lines."""
LAST_LINES = 16 * 1024
"""Bytes of the end of a log in which the last line of each rank is looked for."""
SHOWN_CHARACTERS = 500
"""Characters of a last line that are shown."""
SLOW = 1.25
"""A rank is slow whose steps take so many times as long as the fastest rank's."""
SILENT = timedelta(seconds=15)
"""A rank is silent whose newest report is so much older than another's, beyond the time of three steps."""


def hosts(key: str) -> list[Host]:
    """Return the hosts of a run's cluster, with what is known of the training on each.

    Raises:
        NotRecorded: The run is not in the records.
    """
    plan = runs.plan(key)
    if plan is None:
        raise NotRecorded(f"run {key!r} is not in the records")
    recorded = milestones.of_run(key)
    last_lines = _LastLines(key, _newest_attempt(key, recorded))
    failure, states = gang_failure(recorded), series.host_states(key)
    reports = {point.report.rank: point for point in series.rank_states(key)}
    gpus: dict[str, list[GpuPoint]] = defaultdict(list)
    for sample in series.last_gpu_samples(key):
        gpus[sample.host].append(sample)
    found, first_rank = [], 0
    for host in plan["cluster"]["hosts"]:
        name = host["name"]
        state = _stop_of_training(failure) or states.get(name)
        lines = last_lines.of(name)
        numbers = range(first_rank, first_rank + host["processes"])
        first_rank += host["processes"]
        found.append(
            Host(
                name=name,
                processes=host["processes"],
                state=state.state if state else "",
                at=state.at if state else None,
                failed=failure is not None and failure.host == name,
                logs=lines.logs,
                log=lines.log,
                last_line=lines.last,
                ranks=[_rank(number, local, reports, lines, failure) for local, number in enumerate(numbers)],
                gpus=[_gpu(sample) for sample in gpus[name]],
            )
        )
    return found


def _stop_of_training(failure: Failure | None) -> HostPoint | None:
    """The state of every host whose training a person stopped: its watcher was gone by then."""
    if failure is None or (failure.task, failure.cause) != (TRAINING, "person"):
        return None
    return HostPoint("stopped", failure.at)


def preflight(key: str) -> Preflight:
    """Return what `preflight` found on the hosts of a run."""
    return Preflight(
        hosts=[
            Checkup(host=found.host, at=found.at, facts=found.facts, checks=found.checks)
            for found in checkups.of_run(key)
        ]
    )


def log(key: str, name: str, lines: int, rank: int | None = None) -> Log:
    """Return the last lines of one of a run's logs.

    Args:
        key: The run.
        name: Name of the log.
        lines: How many lines, at most.
        rank: Only those of this rank.

    Raises:
        NotRecorded: The run has no such log.
    """
    store = LogStore()
    if name not in store.names(key):
        raise NotRecorded(f"run {key!r} has no log {name!r} in the log store")
    size, data = store.tail(key, name, lines * LINE * (1 if rank is None else RANKS_A_HOST))
    text = data.decode(errors="replace").splitlines()
    if rank is not None:
        text = [part for line in text for of, part in split_ranks(line) if of == rank]
    return Log(name=name, size=size, text="\n".join(text[-lines:]))


@dataclass(frozen=True)
class _HostLines:
    """The logs of a host, and the last lines of the newest one of the training."""

    logs: list[str]
    log: str | None
    last: str
    by_rank: Mapping[int | None, str]


class _LastLines:
    """The ends of the logs of one attempt of the training.

    Args:
        key: The run.
        attempt: The attempt; None where nothing was trained yet.
    """

    def __init__(self, key: str, attempt: str | None) -> None:
        self._key, self._attempt = key, attempt
        self._store = LogStore()
        self._names = self._store.names(key)

    def of(self, host: str) -> _HostLines:
        logs = [name for name in self._names if name.endswith(f".{host}")]
        newest = next((name for name in logs if name.endswith(f".{self._attempt}.{host}")), None)
        if newest is None:
            return _HostLines(logs, None, "", {})
        _, data = self._store.tail(self._key, newest, LAST_LINES)
        parts = [part for line in data.decode(errors="replace").splitlines() for part in split_ranks(line)]
        by_rank = {rank: text.strip()[:SHOWN_CHARACTERS] for rank, text in parts}
        return _HostLines(logs, newest, parts[-1][1].strip()[:SHOWN_CHARACTERS] if parts else "", by_rank)


def _newest_attempt(key: str, recorded: Iterable[RecordedMilestone]) -> str | None:
    attempts = list(dict.fromkeys(one.attempt for one in recorded if one.task == TRAINING))
    if attempts:
        return attempts[-1]
    last = series.last_iteration(key)
    return last.attempt if last else None


def _rank(
    number: int,
    local: int,
    reports: Mapping[int, RankPoint],
    lines: _HostLines,
    failure: Failure | None,
) -> Rank:
    point = reports.get(number)
    report = point.report if point else None
    has_failed = failure is not None and failure.rank == number
    return Rank(
        rank=number,
        local_rank=local,
        step=report and report.step,
        at=point and point.at,
        seconds=report and report.seconds,
        relative=_relative(point, reports.values()),
        data_seconds=report and report.data_seconds,
        memory=report and report.memory,
        flag="failed" if has_failed else point and flag(point, list(reports.values())),
        last_line=lines.by_rank.get(number, ""),
    )


def flag(point: RankPoint, all_points: Sequence[RankPoint]) -> Flag | None:
    """Return what is wrong with a rank, by its newest report and the others' of the same attempt."""
    newest = max(other.at for other in all_points if other.attempt == point.attempt)
    patience = SILENT + timedelta(seconds=3 * (point.report.seconds or 0))
    if newest - point.at > patience:
        return "silent"
    relative = _relative(point, all_points)
    return "slow" if relative is not None and relative > SLOW else None


def _relative(point: RankPoint | None, all_points: Iterable[RankPoint]) -> float | None:
    """Seconds a step as a multiple of the fastest rank's of the same attempt."""
    if point is None or point.report.seconds is None:
        return None
    others = [other.report.seconds for other in all_points if other.attempt == point.attempt]
    fastest = min(seconds for seconds in others if seconds is not None)
    return point.report.seconds / fastest if fastest else None


def _gpu(sample: GpuPoint) -> GpuNow:
    gpu: Any = sample.gpu.model_dump(exclude={"index"})
    return GpuNow(gpu=sample.gpu.index, at=sample.at, **gpu)
