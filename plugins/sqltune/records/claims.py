"""Claims: which run works on a cluster now. A unique row permits only one.

A row alone says nothing about the run that wrote it: it may have ended, been deleted, or been cleared.
`turns` asks Airflow, and takes a claim over whose run does not run any more. So no end of a run releases its
claim, and a claim that is left blocks nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, delete, select, update

from sqltune.records import database
from sqltune.records.models import ClusterClaim, Run
from sqltune.records.types import now


@dataclass(frozen=True)
class Owner:
    """A run, as Airflow names it."""

    dag_id: str
    run_id: str


@dataclass(frozen=True)
class Claim:
    """A run works on a cluster, or is about to."""

    cluster: str
    owner: Owner
    at: datetime
    """When its owner claimed it last."""


def take(cluster: str, owner: Owner) -> Claim:
    """Claim a cluster where it is free; return the claim that holds, this run's or another's.

    A claim that the run has already is renewed: whoever read it before can't take it over any more. A claim
    that the run has on another cluster is given up: it was cleared, and works there no longer.
    """
    renewal = update(ClusterClaim).where(ClusterClaim.cluster == cluster, *_owned_by(owner))
    with database.writing() as session:
        session.execute(delete(ClusterClaim).where(ClusterClaim.cluster != cluster, *_owned_by(owner)))
        session.execute(renewal.values(at=now()))
        row = {"cluster": cluster, **_values(owner)}
        database.upsert(session, ClusterClaim, [row], keys=["cluster"], update=False)
        held = session.get_one(ClusterClaim, cluster)
        return Claim(cluster=cluster, owner=Owner(held.dag_id, held.run_id), at=held.at)


def take_over(claim: Claim, owner: Owner) -> Claim:
    """Claim a cluster in place of a run that does not run any more; return the claim that holds.

    Of two runs that try at the same time, one gets it. Neither does where the former owner has renewed the
    claim since it was read.
    """
    as_read = (ClusterClaim.cluster == claim.cluster, ClusterClaim.at == claim.at)
    with database.writing() as session:
        session.execute(update(ClusterClaim).where(*as_read, *_owned_by(claim.owner)).values(_values(owner)))
    return take(claim.cluster, owner)


def ahead_of(key: str) -> Owner | None:
    """Return the run that has the claim on a run's cluster, where that is another one.

    Whether that one still runs, and whether the first one waits for it, is known to Airflow alone.
    """
    statement = (
        select(ClusterClaim)
        .join(Run, Run.cluster == ClusterClaim.cluster)
        .where(Run.key == key, ClusterClaim.run_id != Run.run_id)
    )
    with database.reading() as session:
        held = session.scalar(statement)
        return Owner(held.dag_id, held.run_id) if held else None


def _owned_by(owner: Owner) -> tuple[ColumnElement[bool], ...]:
    return (ClusterClaim.dag_id == owner.dag_id, ClusterClaim.run_id == owner.run_id)


def _values(owner: Owner) -> dict[str, object]:
    return {"dag_id": owner.dag_id, "run_id": owner.run_id, "at": now()}
