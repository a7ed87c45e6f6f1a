"""What old runs leave: their series and single answers go, everything that says what they came to stays.

Never removed: runs with their plans, milestones and estimates; evaluations with their scores; verdicts,
versions and promotions; questions.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import ColumnElement, CursorResult, Delete, and_, delete, exists, not_, select, text, union

from sqltune.records import database
from sqltune.records.models import (
    Answer,
    Evaluation,
    GpuSample,
    HostState,
    Iteration,
    Judgement,
    RankState,
    Run,
)

_SERIES = (Iteration, GpuSample, HostState, RankState)


def old_runs(before: datetime, kept: Collection[str]) -> list[str]:
    """Return the keys of the runs of which nothing was recorded since a moment, the oldest first.

    Args:
        before: The moment.
        kept: Keys of runs that stay whole, however old they are.
    """
    with database.reading() as session:
        return list(session.scalars(select(Run.key).where(_is_old(before, kept)).order_by(Run.active_at)))


def remove_series(before: datetime, kept: Collection[str]) -> int:
    """Remove iterations, GPU samples and the states of hosts and ranks of old runs; return how many rows.

    Args:
        before: Runs of which something was recorded since then stay whole.
        kept: Keys of runs that stay whole, however old they are.
    """
    return sum(_remove_of_runs(table, before, kept) for table in _SERIES)


def remove_answers(before: datetime, kept: Collection[str]) -> int:
    """Remove the single answers of old runs with what they are worth; return how many rows.

    A model that a newer run has evaluated too keeps its answers: they are shared.

    Args:
        before: Runs of which something was recorded since then stay whole.
        kept: Keys of runs that stay whole, however old they are.
    """
    removed = _remove_of_runs(Judgement, before, kept)
    evaluated = (
        select(Evaluation.model_hash)
        .join(Run, Run.id == Evaluation.run_id)
        .where(not_(_is_old(before, kept)))
    )
    # An evaluation that began again with another model has judgements of the one before until it has ended.
    judged = select(Answer.model_hash).join(Judgement, Judgement.answer_id == Answer.id)
    needed = Answer.model_hash.in_(union(evaluated, judged))
    return removed + _execute(delete(Answer).where(Answer.at < before, not_(needed)))


def size() -> int:
    """Return the bytes that the records' database takes on its disk."""
    with database.reading() as session:
        if session.get_bind().dialect.name == "sqlite":
            statement = "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size"
        else:
            statement = "SELECT pg_database_size(current_database())"
        return int(session.scalar(text(statement)) or 0)


def _is_old(before: datetime, kept: Collection[str]) -> ColumnElement[bool]:
    return and_(Run.active_at < before, Run.key.not_in(kept))


def _remove_of_runs(
    table: type[Iteration | GpuSample | HostState | RankState | Judgement],
    before: datetime,
    kept: Collection[str],
) -> int:
    with database.reading() as session:
        runs = session.scalars(
            select(Run.id).where(_is_old(before, kept), exists().where(table.run_id == Run.id))
        ).all()
    # Run by run, so that whoever records something meanwhile waits for one run's rows and not for all.
    return sum(_execute(delete(table).where(table.run_id == run)) for run in runs)


def _execute(statement: Delete) -> int:
    with database.writing() as session:
        result = session.execute(statement)
        assert isinstance(result, CursorResult)
        return result.rowcount
