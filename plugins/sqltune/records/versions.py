"""Versions: registered candidates, numbered for each cluster."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import PurePosixPath
from typing import Any

from pydantic import Field
from sqlalchemy import func, select
from sqlalchemy.orm import Session, aliased

from sqltune.config.plan import Champion
from sqltune.records import database
from sqltune.records.models import Evaluation, Promotion, Run, Verdict
from sqltune.records.models import Version as Row
from sqltune.records.types import now
from ssh_gang.model import Model


class Version(Model):
    """One trained candidate: where its model is, and where it comes from."""

    number: int = Field(description="Counts the candidates of a cluster, from 1.")
    cluster: str
    run_id: str = Field(description="The Airflow run that trained it.")
    run_key: str = Field(description="The run's key in the records.")
    registered_at: datetime = Field(description="UTC.")
    host: str = Field(description="The host that holds the merged model.")
    merged_path: str
    model_hash: str
    dtype: str = Field(description="Type of the served weights.")
    lineage: dict[str, str] = Field(
        description="Data, plan, code, versions, hashes, scores, verdict, hours: what MLflow has as tags."
    )

    @property
    def champion(self) -> Champion:
        """This version as what is served."""
        return Champion(version=self.number, merged_path=self.merged_path, model_hash=self.model_hash)

    @property
    def adapter_path(self) -> str:
        """Folder of the adapter on the host, where `export_model` wrote it: beside the merged model."""
        return str(PurePosixPath(self.merged_path).with_name("adapter"))


@dataclass(frozen=True)
class ScorePoint:
    """The score of one version, for a chart over versions."""

    number: int
    registered_at: datetime
    dataset_commit: str | None
    questions: int | None
    matched: int | None
    passed: bool | None
    matched_before: int | None
    """Correct answers of the model that was served when the version was trained."""
    gpu_hour_price: float | None
    """As the cluster file had it when the version was trained."""


def register(cluster: str, run_id: str, **candidate: Any) -> Version:
    """Register a candidate; the run's own version again when its task is tried again, with what is known now.

    Args:
        cluster: The cluster it was trained on.
        run_id: The Airflow run that trained it.
        candidate: The other fields of `Version`, without number and registered_at.
    """

    def write(session: Session) -> Version:
        row = session.scalar(select(Row).where(Row.cluster == cluster, Row.run_id == run_id))
        if row is None:
            row = Row(
                cluster=cluster,
                run_id=run_id,
                number=_next_number(session, cluster),
                registered_at=now(),
                **candidate,
            )
            session.add(row)
        else:
            for name, value in candidate.items():
                setattr(row, name, value)
        session.flush()
        return _version(row)

    return database.retried(write)


def _next_number(session: Session, cluster: str) -> int:
    registered = session.scalar(select(func.max(Row.number)).where(Row.cluster == cluster))
    # A model that was served before its version was registered has a number too.
    served = session.scalar(select(func.max(Promotion.version)).where(Promotion.cluster == cluster))
    return max(registered or 0, served or 0) + 1


def of_cluster(cluster: str) -> list[Version]:
    """Return a cluster's versions, oldest first."""
    with database.reading() as session:
        rows = session.scalars(select(Row).where(Row.cluster == cluster).order_by(Row.number))
        return [_version(row) for row in rows]


def gpu_hours(cluster: str) -> dict[str, float]:
    """Return the GPU-hours of each training whose version has them, by run id."""
    hours = Row.lineage["gpu_hours"].as_string()
    statement = select(Row.run_id, hours).where(Row.cluster == cluster, hours.is_not(None))
    with database.reading() as session:
        return {run_id: float(recorded) for run_id, recorded in session.execute(statement)}


def find(cluster: str, number: int) -> Version | None:
    """Return one version, or None."""
    with database.reading() as session:
        row = session.scalar(select(Row).where(Row.cluster == cluster, Row.number == number))
        return None if row is None else _version(row)


def scores(cluster: str) -> list[ScorePoint]:
    """Return the score of each version, oldest first."""
    before = aliased(Evaluation)
    statement = (
        select(
            Row.number,
            Row.registered_at,
            Run.dataset_commit,
            Evaluation.questions,
            Evaluation.matched,
            Verdict.passed,
            before.matched,
            Run.plan[("cluster", "gpu_hour_price")].as_float(),
        )
        .outerjoin(Run, Run.key == Row.run_key)
        .outerjoin(before, (before.run_id == Run.id) & (before.phase == "before"))
        .outerjoin(Evaluation, (Evaluation.run_id == Run.id) & (Evaluation.phase == "after"))
        .outerjoin(Verdict, Verdict.run_id == Run.id)
        .where(Row.cluster == cluster)
        .order_by(Row.number)
    )
    with database.reading() as session:
        return [ScorePoint(*row) for row in session.execute(statement)]


def _version(row: Row) -> Version:
    return Version.model_validate(row, from_attributes=True)
