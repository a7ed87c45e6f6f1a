"""Attempts of gangs, put together from their milestones and iterations."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqltune.records.milestones import RecordedMilestone
from sqltune.records.series import AttemptSpan
from sqltune.records.types import from_timestamp
from sqltune.ui.gang_contracts import Attempt, AttemptState, CheckpointMark, Takeover
from ssh_gang.milestone import Kind, Milestone

TRAINING = "train"
"""The task whose gang has iterations."""


def attempts(milestones: Sequence[RecordedMilestone], spans: Sequence[AttemptSpan]) -> list[Attempt]:
    """Return the attempts of a run's gangs, the earliest first.

    Args:
        milestones: Those of the run, in the order in which they happened.
        spans: The iterations of each attempt of the training, the earliest first.
    """
    by_attempt: dict[tuple[str, str], list[Milestone]] = {}
    for recorded in milestones:
        by_attempt.setdefault((recorded.task, recorded.attempt), []).append(recorded.milestone)
    for span in spans:
        # A run that an earlier version recorded has iterations and no milestones.
        by_attempt.setdefault((TRAINING, span.attempt), [])
    steps = {span.attempt: span for span in spans}
    made = [
        _attempt(task, name, of, steps.get(name) if task == TRAINING else None)
        for (task, name), of in by_attempt.items()
    ]
    return [_with_successors(attempt, made[at + 1 :]) for at, attempt in enumerate(made)]


def kept_up_to(attempt: Attempt, later: Sequence[Attempt]) -> int | None:
    """Return the last step of an attempt that no later one took again; None where that is all of them."""
    resumes = [other.resumed_from for other in later if other.task == attempt.task and _has_begun(other)]
    return min(resumes, default=None)


def _attempt(task: str, name: str, milestones: list[Milestone], span: AttemptSpan | None) -> Attempt:
    first = {milestone.kind: milestone for milestone in reversed(milestones)}

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
        reconnected_at=[from_timestamp(m.at) for m in milestones if m.kind == "reconnected"],
        takeovers=[
            Takeover(step=m.number, at=from_timestamp(m.at)) for m in milestones if m.kind == "taken_over"
        ],
        resumed_from=first["resumed"].number if "resumed" in first else 0,
        first_step=span and span.first_step,
        last_step=span and span.last_step,
        lost_steps=0,
        launch_skew=ranks_started and ranks_started.launch_skew,
        launch_skew_error=ranks_started and ranks_started.launch_skew_error,
        checkpoints=_checkpoints(milestones),
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


def _checkpoints(milestones: Sequence[Milestone]) -> list[CheckpointMark]:
    by_step: dict[int, list[Milestone]] = {}
    for milestone in milestones:
        if milestone.kind == "checkpoint":
            by_step.setdefault(milestone.number, []).append(milestone)
    return [
        CheckpointMark(step=step, at=from_timestamp(max(m.at for m in of)), hosts=sorted(m.host for m in of))
        for step, of in sorted(by_step.items())
    ]


def _with_successors(attempt: Attempt, later: Sequence[Attempt]) -> Attempt:
    """Add what only the later attempts of the task tell: that it was overtaken, and what of it was lost."""
    update: dict[str, object] = {}
    kept = kept_up_to(attempt, later)
    if kept is not None and attempt.last_step is not None:
        update["lost_steps"] = max(0, attempt.last_step - kept)
    if attempt.state == "running" and any(other.task == attempt.task for other in later):
        update["state"] = "stopped"
    return attempt.model_copy(update=update)


def _has_begun(attempt: Attempt) -> bool:
    """Whether its ranks may have trained: an attempt that could not be launched takes no step again."""
    return attempt.started_at is not None or attempt.first_step is not None
