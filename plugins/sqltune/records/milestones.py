"""Milestones of a run's gangs: what happened to each attempt, and when."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import func, select

from sqltune.records import database
from sqltune.records.models import GangMilestone
from sqltune.records.runs import number, touch
from sqltune.records.types import from_timestamp
from ssh_gang.milestone import Milestone

_KEYS = ["run_id", "task", "attempt", "kind", "host", "number"]
_COLUMNS = {"kind", "host", "number", "at"}
"""Fields of a `Milestone` that have columns of their own."""


@dataclass(frozen=True)
class RecordedMilestone:
    """A milestone, with the task and the attempt that it belongs to."""

    task: str
    attempt: str
    milestone: Milestone


def put(run_key: str, task: str, attempt: str, milestone: Milestone) -> None:
    """Record a milestone; of two with one key, the first stays.

    A watcher that takes over notices again, and later, what its predecessor has recorded.
    """
    with database.writing() as session:
        run = number(session, run_key)
        row = {
            "run_id": run,
            "task": task,
            "attempt": attempt,
            "kind": milestone.kind,
            "host": milestone.host,
            "number": milestone.number,
            "at": from_timestamp(milestone.at),
            "details": milestone.model_dump(mode="json", exclude=_COLUMNS, exclude_defaults=True),
        }
        database.upsert(session, GangMilestone, [row], keys=_KEYS, update=False)
        touch(session, run)


def of_run(run_key: str) -> list[RecordedMilestone]:
    """Return a run's milestones in the order in which they happened."""
    with database.reading() as session:
        statement = select(GangMilestone).where(GangMilestone.run_id == number(session, run_key))
        return [_recorded(row) for row in session.scalars(statement.order_by(GangMilestone.at))]


def count(run_key: str) -> int:
    """Return how many milestones a run has: more of them, and something has happened."""
    with database.reading() as session:
        statement = select(func.count()).where(GangMilestone.run_id == number(session, run_key))
        return session.scalar(statement) or 0


def _recorded(row: GangMilestone) -> RecordedMilestone:
    columns = {"kind": row.kind, "host": row.host, "number": row.number, "at": row.at.timestamp()}
    return RecordedMilestone(row.task, row.attempt, Milestone.model_validate(row.details | columns))
