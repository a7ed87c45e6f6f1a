"""Promotions: what serves, and what served when. Rows are only ever added."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from sqltune.config.plan import Champion
from sqltune.records import database
from sqltune.records.models import Promotion as Row
from sqltune.records.types import UtcDateTime, now
from sqltune.records.versions import Version


@dataclass(frozen=True)
class Promotion:
    """A version began to serve."""

    at: datetime
    cluster: str
    version: int
    before: int | None
    """The version that served until then."""
    why: str
    """What decided: the gate, a person, a rollback."""
    by: str
    """The run that did it."""
    run_id: str
    """The run that trained the version."""
    champion: Champion
    lineage: dict[str, str]
    """The version's lineage when it was promoted."""


@dataclass(frozen=True)
class ServedTime:
    """A time in which a version served: a promotion without what the version was made from."""

    at: datetime
    until: datetime | None
    """None while it serves."""
    version: int
    before: int | None
    why: str
    by: str
    run_id: str


def promote(version: Version, why: str, by: str) -> None:
    """Record that a version serves from now on; promoting it twice in a row records it once.

    Args:
        version: What serves.
        why: What decided: the gate, a person, a rollback.
        by: The run that did it.
    """

    def write(session: Session) -> None:
        last = _last(session, version.cluster)
        if last is not None and _champion(last) == version.champion:
            return
        session.add(
            Row(
                cluster=version.cluster,
                number=last.number + 1 if last else 1,
                at=now(),
                version=version.number,
                before=last.version if last else None,
                merged_path=version.merged_path,
                model_hash=version.model_hash,
                why=why,
                by=by,
                run_id=version.run_id,
                lineage=version.lineage,
            )
        )

    database.retried(write)


def champion(cluster: str) -> Champion | None:
    """Return the model that a cluster serves now, or None before the first promotion."""
    with database.reading() as session:
        last = _last(session, cluster)
        return None if last is None else _champion(last)


def history(cluster: str) -> list[Promotion]:
    """Return a cluster's promotions, oldest first."""
    with database.reading() as session:
        rows = session.scalars(select(Row).where(Row.cluster == cluster).order_by(Row.number))
        return [_promotion(row) for row in rows]


def served_times(cluster: str, version: int | None = None) -> list[ServedTime]:
    """Return when a cluster's versions served, or one of them, oldest first."""
    until = func.lead(Row.at, type_=UtcDateTime()).over(order_by=Row.number).label("until")
    columns = (Row.at, until, Row.version, Row.before, Row.why, Row.by, Row.run_id)
    times = select(Row.number, *columns).where(Row.cluster == cluster).subquery()
    statement = select(*(times.c[column.name] for column in columns)).order_by(times.c.number)
    if version is not None:
        statement = statement.where(times.c.version == version)
    with database.reading() as session:
        return [ServedTime(*row) for row in session.execute(statement)]


def served_at(cluster: str, moment: datetime) -> Promotion | None:
    """Return the promotion that held at a moment, or None when nothing was served."""
    with database.reading() as session:
        row = session.scalar(
            select(Row)
            .where(Row.cluster == cluster, Row.at <= moment)
            .order_by(Row.at.desc(), Row.number.desc())
            .limit(1)
        )
        return None if row is None else _promotion(row)


def made_by(run_id: str) -> Promotion | None:
    """Return the last promotion that a run made, or None."""
    with database.reading() as session:
        row = session.scalar(select(Row).where(Row.by == run_id).order_by(Row.id.desc()).limit(1))
        return None if row is None else _promotion(row)


def _last(session: Session, cluster: str) -> Row | None:
    return session.scalar(select(Row).where(Row.cluster == cluster).order_by(Row.number.desc()).limit(1))


def _champion(row: Row) -> Champion:
    return Champion(version=row.version, merged_path=row.merged_path, model_hash=row.model_hash)


def _promotion(row: Row) -> Promotion:
    return Promotion(
        at=row.at,
        cluster=row.cluster,
        version=row.version,
        before=row.before,
        why=row.why,
        by=row.by,
        run_id=row.run_id,
        champion=_champion(row),
        lineage=row.lineage,
    )
