"""Trainings that the records hold, for tests of what is estimated from them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sqltune.config.plan import RunPlan
from sqltune.records import milestones, runs, series
from ssh_gang.milestone import Milestone
from ssh_gang.progress import Progress

BEGIN = datetime(2026, 11, 1, tzinfo=UTC)


def put_training(
    plan: RunPlan,
    *,
    seconds_per_step: float = 5.0,
    warm_up: float = 25.0,
    steps: int = 10,
    around: float = 40.0,
    tokens_per_second: float | None = None,
    resumed: bool = False,
    strategy: str | None = None,
) -> None:
    """Record a finished training: two slow iterations, then steady ones, and the time around them.

    Args:
        plan: What was trained.
        seconds_per_step: Of a steady iteration.
        warm_up: Seconds of each of the first two.
        steps: Iterations in all.
        around: Seconds before the first and after the last iteration.
        tokens_per_second: As the log says.
        resumed: Whether the attempt went on from a checkpoint.
        strategy: The one that was used; None: the plan's, as in records of earlier versions.
    """
    runs.put_plan(plan)
    for step in range(1, steps + 1):
        progress = Progress(
            step=step,
            total=steps,
            loss=1.0,
            seconds_per_step=warm_up if step <= 2 else seconds_per_step,
            tokens_per_second=tokens_per_second,
        )
        series.put_iteration(plan.key, "a1", BEGIN + timedelta(seconds=step), progress)
    whole = around + 2 * warm_up + (steps - 2) * seconds_per_step
    for kind, at in [("started", 0.0), ("ended", whole)]:
        milestones.put(plan.key, "train", "a1", Milestone(kind=kind, at=BEGIN.timestamp() + at))
    if resumed:
        milestones.put(plan.key, "train", "a1", Milestone(kind="resumed", at=BEGIN.timestamp(), number=1))
    runs.put_trained(plan.key, {"attempt": "a1"} | ({"strategy": strategy} if strategy else {}))
