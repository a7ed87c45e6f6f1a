"""What happened to the gangs of a run, and when."""

from __future__ import annotations

from collections.abc import Sequence

from sqltune.records import attempts, milestones
from sqltune.records.attempts import TRAINING, Attempt
from sqltune.records.types import from_timestamp
from sqltune.ui.gang_contracts import Commands, TaskCommands, Timeline


def timeline(key: str) -> Timeline:
    """Return what happened to the gangs of a run, and when."""
    found = attempts.of_run(key)
    training = [attempt for attempt in found if attempt.task == TRAINING]
    return Timeline(
        attempts=found,
        time_to_first_step=_time_to_first_step(training),
        goodput=attempts.goodput(key, training),
    )


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
