"""Attempts of gangs, put together from their milestones and iterations."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Literal

from pydantic import Field

from sqltune.records import milestones, series
from sqltune.records.milestones import RecordedMilestone
from sqltune.records.series import AttemptSpan
from sqltune.records.types import from_timestamp, now
from ssh_gang.milestone import Kind, Milestone
from ssh_gang.model import Model

TRAINING = "train"
"""The task whose gang has iterations."""

PROBE = "probe"
"""The task whose gangs try out strategies: one that fails there fails no run."""

GOODPUT = (
    "Useful seconds are those that the training counted for the steps of the final model: seconds a step on "
    "rank 0, without the steps that a later attempt took again. Wall seconds go from the first attempt's "
    "submission to the end of the last one, or to now while it runs; waiting for busy hosts is not part of "
    "them, and loading, rendezvous, checkpoints, stops and pauses are."
)


class CheckpointMark(Model):
    """A checkpoint of a training."""

    step: int
    at: datetime = Field(description="When the last of the hosts reported its part.")
    hosts: list[str] = Field(description="Hosts that have reported their part.")


class Takeover(Model):
    """A watcher that went on where another one had left off, such as after a restart of the triggerer."""

    step: int = Field(description="The last step that was recorded before.")
    at: datetime


AttemptState = Literal["running", "succeeded", "failed", "stopped"]
"""`stopped`: by a person, or because the next attempt took its place."""


class Attempt(Model):
    """One attempt of one of the run's gangs; a moment is null where it is not known, or not reached."""

    task: str = Field(description="Airflow's task id.")
    attempt: str
    state: AttemptState | None = Field(description="Null in runs that an earlier version recorded.")
    submitted_at: datetime | None = Field(description="The hosts were queried, and free.")
    prepared_at: datetime | None = Field(description="Every host waited for the start signal.")
    started_at: datetime | None = Field(description="The start signal was sent.")
    ranks_started_at: datetime | None = Field(description="Every rank had started.")
    first_step_at: datetime | None = Field(description="The first iteration was seen.")
    last_step_at: datetime | None = Field(description="The last iteration was seen.")
    stopping_at: datetime | None = Field(description="The watcher decided to stop it.")
    stopped_at: datetime | None = Field(description="No process was left.")
    ended_at: datetime | None = Field(description="The last host's job ended.")
    reconnected_at: list[datetime] = Field(description="A later try of the task found it running.")
    takeovers: list[Takeover]
    resumed_from: int = Field(description="Step of the checkpoint that it went on from; 0: the beginning.")
    first_step: int | None
    last_step: int | None
    lost_steps: int = Field(description="Steps that a later attempt took again.")
    launch_skew: float | None = Field(description="Seconds between the first and the last host's start.")
    launch_skew_error: float | None = Field(description="Seconds by which it may be off.")
    checkpoints: list[CheckpointMark]
    reason: str = Field(description="Why it failed or was stopped; empty otherwise.")


class Goodput(Model):
    """The useful part of a training's time."""

    useful_seconds: float
    wall_seconds: float
    share: float = Field(description=GOODPUT)
    lost_steps: int = Field(description="Steps of earlier attempts that were taken again.")


def of_run(key: str) -> list[Attempt]:
    """Return the attempts of a run's gangs, the earliest first."""
    return _put_together(milestones.of_run(key), series.attempt_spans(key))


def goodput(key: str, of_training: Sequence[Attempt]) -> Goodput | None:
    """Return the useful part of a training's time; None before its first iteration.

    Args:
        key: The run's key.
        of_training: Attempts of the training, the earliest first.
    """
    began = next((attempt.submitted_at for attempt in of_training if attempt.submitted_at), None)
    if began is None or not any(attempt.first_step for attempt in of_training):
        return None
    useful = sum(_useful_seconds(key, one, of_training[at + 1 :]) for at, one in enumerate(of_training))
    wall = (_end(of_training[-1]) - began).total_seconds()
    return Goodput(
        useful_seconds=useful,
        wall_seconds=wall,
        # A line of the log may be seen a moment before the clock of the training says that the step ended.
        share=min(1.0, useful / wall) if wall > 0 else 0.0,
        lost_steps=sum(attempt.lost_steps for attempt in of_training),
    )


def _put_together(recorded: Sequence[RecordedMilestone], spans: Sequence[AttemptSpan]) -> list[Attempt]:
    by_attempt: dict[tuple[str, str], list[Milestone]] = {}
    for one in recorded:
        by_attempt.setdefault((one.task, one.attempt), []).append(one.milestone)
    for span in spans:
        # A run that an earlier version recorded has iterations and no milestones.
        by_attempt.setdefault((TRAINING, span.attempt), [])
    steps = {span.attempt: span for span in spans}
    made = [
        _attempt(task, name, of, steps.get(name) if task == TRAINING else None)
        for (task, name), of in by_attempt.items()
    ]
    return [_with_successors(attempt, made[at + 1 :]) for at, attempt in enumerate(made)]


def _kept_up_to(attempt: Attempt, later: Sequence[Attempt]) -> int | None:
    """Return the last step of an attempt that no later one took again; None where that is all of them."""
    resumes = [other.resumed_from for other in later if other.task == attempt.task and _has_begun(other)]
    return min(resumes, default=None)


def _attempt(task: str, name: str, noted: list[Milestone], span: AttemptSpan | None) -> Attempt:
    first = {milestone.kind: milestone for milestone in reversed(noted)}

    def at(kind: Kind) -> datetime | None:
        return from_timestamp(first[kind].at) if kind in first else None

    ranks_started = first.get("ranks_started")
    return Attempt(
        task=task,
        attempt=name,
        state=_state(first),
        submitted_at=at("submitted"),
        prepared_at=at("prepared"),
        started_at=at("started"),
        ranks_started_at=at("ranks_started"),
        first_step_at=span and span.first_at,
        last_step_at=span and span.last_at,
        stopping_at=at("stopping"),
        stopped_at=at("killed") or at("stopped"),
        ended_at=at("ended"),
        reconnected_at=[from_timestamp(m.at) for m in noted if m.kind == "reconnected"],
        takeovers=[Takeover(step=m.number, at=from_timestamp(m.at)) for m in noted if m.kind == "taken_over"],
        resumed_from=first["resumed"].number if "resumed" in first else 0,
        first_step=span and span.first_step,
        last_step=span and span.last_step,
        lost_steps=0,
        launch_skew=ranks_started and ranks_started.launch_skew,
        launch_skew_error=ranks_started and ranks_started.launch_skew_error,
        checkpoints=_checkpoints(noted),
        reason=_reason(first),
    )


def _state(first: dict[Kind, Milestone]) -> AttemptState | None:
    if not first:
        return None
    end = first["ended"].end if "ended" in first else None
    if "failed" in first or (end and not end.ok):
        return "failed"
    if end:
        return "succeeded"
    return "stopped" if "killed" in first else "running"


def _reason(first: dict[Kind, Milestone]) -> str:
    end = first["ended"].end if "ended" in first else None
    if end and not end.ok:
        return end.reason
    return next((first[kind].reason for kind in ("failed", "stopping") if kind in first), "")


def _checkpoints(noted: Sequence[Milestone]) -> list[CheckpointMark]:
    by_step: dict[int, list[Milestone]] = {}
    for milestone in noted:
        if milestone.kind == "checkpoint":
            by_step.setdefault(milestone.number, []).append(milestone)
    return [
        CheckpointMark(step=step, at=from_timestamp(max(m.at for m in of)), hosts=sorted(m.host for m in of))
        for step, of in sorted(by_step.items())
    ]


def _with_successors(attempt: Attempt, later: Sequence[Attempt]) -> Attempt:
    """Add what only the later attempts of the task tell: that it was overtaken, and what of it was lost."""
    update: dict[str, object] = {}
    kept = _kept_up_to(attempt, later)
    if kept is not None and attempt.last_step is not None:
        update["lost_steps"] = max(0, attempt.last_step - kept)
    if attempt.state == "running" and any(other.task == attempt.task for other in later):
        update["state"] = "stopped"
    return attempt.model_copy(update=update)


def _has_begun(attempt: Attempt) -> bool:
    """Whether its ranks may have trained: an attempt that could not be launched takes no step again."""
    return attempt.started_at is not None or attempt.first_step is not None


def _useful_seconds(key: str, attempt: Attempt, later: Sequence[Attempt]) -> float:
    if attempt.first_step is None:
        return 0.0
    kept = _kept_up_to(attempt, later)
    return series.step_seconds(key, attempt.attempt, after=attempt.resumed_from, up_to=kept)


def _end(attempt: Attempt) -> datetime:
    if attempt.state == "running":
        return now()
    ends = (attempt.ended_at, attempt.stopped_at, attempt.stopping_at, attempt.last_step_at)
    return next((end for end in ends if end), now())
