"""Claims: which run trains a fingerprint now. A unique row permits only one, and a run has one at most.

A row alone says nothing about the run that wrote it: it may have failed, been deleted, or been cleared.
`turns` asks Airflow, and takes a claim over whose run does not run any more. A claim that was never released
blocks nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, delete, select, update

from sqltune.records import database
from sqltune.records.models import Run, TrainingClaim
from sqltune.records.types import now


@dataclass(frozen=True)
class Owner:
    """A run, as Airflow names it."""

    dag_id: str
    run_id: str


@dataclass(frozen=True)
class Claim:
    """A run trains a fingerprint, or is about to."""

    fingerprint: str
    owner: Owner
    at: datetime
    """When its owner claimed it last."""


def take(fingerprint: str, owner: Owner) -> Claim:
    """Claim a fingerprint where it is free; return the claim that holds, this run's or another's.

    A claim that the run has already is renewed: whoever read it before can't take it over any more. A claim
    that the run has on another fingerprint is given up: it trains that one no longer.
    """
    its_own = _owned_by(owner)
    renewal = update(TrainingClaim).where(TrainingClaim.fingerprint == fingerprint, *its_own)
    while True:
        with database.writing() as session:
            session.execute(delete(TrainingClaim).where(TrainingClaim.fingerprint != fingerprint, *its_own))
            session.execute(renewal.values(at=now()))
            row = {"fingerprint": fingerprint, **_values(owner)}
            database.upsert(session, TrainingClaim, [row], keys=["fingerprint"], update=False)
            held = session.get(TrainingClaim, fingerprint)
        # Else another run's claim was released between the last two statements.
        if held is not None:
            return Claim(fingerprint=fingerprint, owner=Owner(held.dag_id, held.run_id), at=held.at)


def take_over(claim: Claim, owner: Owner) -> Claim:
    """Claim a fingerprint in place of a run that does not run any more; return the claim that holds.

    Of two runs that try at the same time, one gets it. Neither does where the former owner has renewed the
    claim since it was read.
    """
    as_read = (TrainingClaim.fingerprint == claim.fingerprint, TrainingClaim.at == claim.at)
    with database.writing() as session:
        session.execute(update(TrainingClaim).where(*as_read, *_owned_by(claim.owner)).values(_values(owner)))
    return take(claim.fingerprint, owner)


def release(fingerprint: str, run_id: str) -> None:
    """Give up a run's claim; another run's stays."""
    with database.writing() as session:
        session.execute(
            delete(TrainingClaim).where(
                TrainingClaim.fingerprint == fingerprint, TrainingClaim.run_id == run_id
            )
        )


def ahead_of(key: str) -> Owner | None:
    """Return the run that has the claim on what a run trains, where that is another one.

    Whether that one still runs, and whether the first one waits for it, is known to Airflow alone.
    """
    statement = (
        select(TrainingClaim)
        .join(Run, Run.fingerprint == TrainingClaim.fingerprint)
        .where(Run.key == key, TrainingClaim.run_id != Run.run_id)
    )
    with database.reading() as session:
        held = session.scalar(statement)
        return Owner(held.dag_id, held.run_id) if held else None


def _owned_by(owner: Owner) -> tuple[ColumnElement[bool], ...]:
    return (TrainingClaim.dag_id == owner.dag_id, TrainingClaim.run_id == owner.run_id)


def _values(owner: Owner) -> dict[str, object]:
    return {"dag_id": owner.dag_id, "run_id": owner.run_id, "at": now()}
