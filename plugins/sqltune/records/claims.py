"""Claims: which run trains a fingerprint now. A unique row permits only one.

A claim is valid only while its run is active. A run that finds a claim checks the other run's state in
Airflow, and takes the claim over if that run has ended or was deleted. A claim that was never released
blocks nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete

from sqltune.records import database
from sqltune.records.models import TrainingClaim
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


def take(fingerprint: str, owner: Owner) -> Claim:
    """Claim a fingerprint where it is free; return the claim that holds, this run's or another's."""
    while True:
        with database.writing() as session:
            database.upsert(
                session, TrainingClaim, [_values(fingerprint, owner)], keys=["fingerprint"], update=False
            )
            row = session.get(TrainingClaim, fingerprint)
        # Else another run's claim was released between the two statements.
        if row is not None:
            return Claim(fingerprint=fingerprint, owner=Owner(row.dag_id, row.run_id), at=row.at)


def take_over(claim: Claim, owner: Owner) -> Claim:
    """Claim a fingerprint in place of a run that has ended; return the claim that holds.

    Of two that try at the same time, one gets it.
    """
    release(claim.fingerprint, claim.owner.run_id)
    return take(claim.fingerprint, owner)


def release(fingerprint: str, run_id: str) -> None:
    """Give up a run's claim; another run's stays."""
    with database.writing() as session:
        session.execute(
            delete(TrainingClaim).where(
                TrainingClaim.fingerprint == fingerprint, TrainingClaim.run_id == run_id
            )
        )


def _values(fingerprint: str, owner: Owner) -> dict[str, object]:
    return {"fingerprint": fingerprint, "dag_id": owner.dag_id, "run_id": owner.run_id, "at": now()}
