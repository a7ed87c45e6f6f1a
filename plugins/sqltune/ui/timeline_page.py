"""What happened to the gangs of a run, and when."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqltune.records import milestones, series
from sqltune.records.types import from_timestamp, now
from sqltune.ui.attempts import TRAINING, attempts, kept_up_to
from sqltune.ui.gang_contracts import Attempt, Commands, Goodput, TaskCommands, Timeline


def timeline(key: str) -> Timeline:
    """Return what happened to the gangs of a run, and when."""
    found = of_run(key)
    training = [attempt for attempt in found if attempt.task == TRAINING]
    return Timeline(
        attempts=found, time_to_first_step=_time_to_first_step(training), goodput=_goodput(key, training)
    )


def of_run(key: str) -> list[Attempt]:
    """Return the attempts of a run's gangs, the earliest first."""
    return attempts(milestones.of_run(key), series.attempt_spans(key))


def commands(key: str) -> Commands:
    """Return what the newest attempt of each gang ran on its hosts."""
    newest = {
        recorded.task: TaskCommands(
            task=recorded.task,
            attempt=recorded.attempt,
            at=from_timestamp(recorded.milestone.at),
            commands=list(recorded.milestone.commands),
        )
        for recorded in milestones.of_run(key)
        if recorded.milestone.kind == "prepared"
    }
    return Commands(tasks=list(newest.values()))


def _time_to_first_step(training: Sequence[Attempt]) -> float | None:
    submitted = [attempt.submitted_at for attempt in training if attempt.submitted_at]
    stepped = [attempt.first_step_at for attempt in training if attempt.first_step_at]
    return (min(stepped) - min(submitted)).total_seconds() if submitted and stepped else None


def _goodput(key: str, training: Sequence[Attempt]) -> Goodput | None:
    began = next((attempt.submitted_at for attempt in training if attempt.submitted_at), None)
    if began is None or not any(attempt.first_step for attempt in training):
        return None
    useful = sum(_useful_seconds(key, attempt, training[at + 1 :]) for at, attempt in enumerate(training))
    wall = (_end(training[-1]) - began).total_seconds()
    return Goodput(
        useful_seconds=useful,
        wall_seconds=wall,
        # A line of the log may be seen a moment before the clock of the training says that the step ended.
        share=min(1.0, useful / wall) if wall > 0 else 0.0,
        lost_steps=sum(attempt.lost_steps for attempt in training),
    )


def _useful_seconds(key: str, attempt: Attempt, later: Sequence[Attempt]) -> float:
    if attempt.first_step is None:
        return 0.0
    kept = kept_up_to(attempt, later)
    return series.step_seconds(key, attempt.attempt, after=attempt.resumed_from, up_to=kept)


def _end(attempt: Attempt) -> datetime:
    if attempt.state == "running":
        return now()
    ends = (attempt.ended_at, attempt.stopped_at, attempt.stopping_at, attempt.last_step_at)
    return next((end for end in ends if end), now())
