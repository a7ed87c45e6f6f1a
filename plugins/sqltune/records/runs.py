"""Runs: what was planned, and where each stands."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Row, Select, exists, func, select
from sqlalchemy.orm import Session, aliased, defer

from sqltune.config.plan import RunPlan
from sqltune.records import database
from sqltune.records.base import Json
from sqltune.records.errors import UnknownRun
from sqltune.records.models import Evaluation, Promotion, Run, Verdict, Version
from sqltune.records.types import now


class State(StrEnum):
    """How far a run has come, by what it has recorded; whether it failed is known to Airflow."""

    PLANNED = "planned"
    NOTHING_NEW = "nothing_new"
    TRAINED = "trained"
    PASSED = "passed"
    HELD_BACK = "held_back"
    PROMOTED = "promoted"


@dataclass(frozen=True)
class RunSummary:
    """One line of the list of runs."""

    key: str
    run_id: str
    cluster: str
    recipe: str
    dataset_repo: str
    dataset_commit: str
    state: State
    same_as: str | None
    """Run id of the run that had trained the same plan."""
    version: int | None
    questions: int | None
    matched_before: int | None
    matched_after: int | None
    created_at: datetime
    active_at: datetime


def number(session: Session, key: str) -> int:
    """Return the number that other tables use for a run.

    Raises:
        UnknownRun: No run of that key was planned.
    """
    number = session.scalar(select(Run.id).where(Run.key == key))
    if number is None:
        raise UnknownRun(f"run {key!r} is not in the database: its task `plan` records it; clear that task")
    return number


def touch(session: Session, run: int) -> None:
    """Note that something was recorded of a run."""
    session.get_one(Run, run).active_at = now()


def put_plan(plan: RunPlan) -> None:
    """Record a plan; a second try of the task replaces it."""
    moment = now()
    row = {
        "key": plan.key,
        "run_id": plan.run_id,
        "cluster": plan.cluster_name,
        "recipe": plan.recipe_name,
        "fingerprint": plan.fingerprint,
        "dataset_repo": plan.dataset_repo,
        "dataset_commit": plan.dataset_commit,
        "plan": plan.model_dump(mode="json"),
        "same_as": None,
        "active_at": moment,
    }
    with database.writing() as session:
        run = session.scalar(select(Run).where(Run.key == plan.key))
        if run is None:
            database.upsert(session, Run, [row | {"created_at": moment}], keys=["key"])
        else:
            for name, value in row.items():
                setattr(run, name, value)


def plan(key: str) -> Json | None:
    """Return a run's plan as JSON, or None."""
    with database.reading() as session:
        return session.scalar(select(Run.plan).where(Run.key == key))


def find(*keys: str) -> str | None:
    """Return the first of the keys that is a run's, or None."""
    with database.reading() as session:
        known = set(session.scalars(select(Run.key).where(Run.key.in_(keys))))
    return next((key for key in keys if key in known), None)


def active_at(key: str) -> datetime | None:
    """Return when something was last recorded of a run, or None for an unknown one."""
    with database.reading() as session:
        return session.scalar(select(Run.active_at).where(Run.key == key))


def put_same_as(key: str, run_id: str) -> None:
    """Record that a run ended with nothing new, because `run_id` had trained the same plan."""
    with database.writing() as session:
        run = session.get_one(Run, number(session, key))
        run.same_as, run.active_at = run_id, now()


def put_estimate(key: str, estimate: Json) -> None:
    """Record what the training will take, in place of an earlier estimate."""
    with database.writing() as session:
        run = session.get_one(Run, number(session, key))
        run.estimate, run.active_at = estimate, now()


def estimate(key: str) -> Json | None:
    """Return what `put_estimate` recorded, or None."""
    with database.reading() as session:
        return session.scalar(select(Run.estimate).where(Run.key == key))


def put_trained(key: str, trained: Json) -> None:
    """Record where a training ended, and with which config."""
    with database.writing() as session:
        run = session.get_one(Run, number(session, key))
        run.trained, run.active_at = trained, now()


def trained(key: str) -> Json | None:
    """Return what `put_trained` recorded, or None."""
    with database.reading() as session:
        return session.scalar(select(Run.trained).where(Run.key == key))


def trained_before(cluster: str, fingerprint: str) -> str | None:
    """Return the run id of the newest run that trained this very plan on a cluster, or None.

    A run counts once it has a verdict. What another cluster trained does not: it has a champion of its own.
    """
    with database.reading() as session:
        return session.scalar(
            select(Run.run_id)
            .join(Verdict, Verdict.run_id == Run.id)
            .where(Run.cluster == cluster, Run.fingerprint == fingerprint)
            .order_by(Verdict.at.desc())
            .limit(1)
        )


def commit_before(cluster: str, repo: str, commit: str, date: datetime) -> str | None:
    """Return the commit that a revision is compared with, or None.

    It is the newest older commit of the dataset that a run on the cluster trained and the gate passed: what a
    held-back run trained on is no measure of what the data should be.

    Args:
        cluster: Name of the cluster.
        repo: The dataset repository.
        commit: The revision's own commit, which is left out.
        date: When it was made.
    """
    made = Run.plan["dataset_date"].as_string()
    with database.reading() as session:
        return session.scalar(
            select(Run.dataset_commit)
            .join(Verdict, Verdict.run_id == Run.id)
            .where(Run.cluster == cluster, Run.dataset_repo == repo, Run.dataset_commit != commit)
            .where(Verdict.passed, made <= date.isoformat())
            .order_by(made.desc(), Verdict.at.desc())
            .limit(1)
        )


def judged(cluster: str, fingerprints: Collection[str]) -> dict[str, RunSummary]:
    """Return a cluster's newest run with a verdict for each of these fingerprints that has one."""
    statement = (
        _summaries()
        .where(Run.cluster == cluster, Run.fingerprint.in_(fingerprints), Verdict.at.is_not(None))
        .order_by(Verdict.at)
    )
    with database.reading() as session:
        return {row[0].fingerprint: _summary(row) for row in session.execute(statement)}


def by_activity() -> list[str]:
    """Return the keys of all runs, the one that recorded something last at the end."""
    with database.reading() as session:
        return list(session.scalars(select(Run.key).order_by(Run.active_at, Run.id)))


def summary(key: str) -> RunSummary | None:
    """Return one run's line of the list, or None."""
    with database.reading() as session:
        row = session.execute(_summaries().where(Run.key == key)).one_or_none()
        return None if row is None else _summary(row)


def summaries(cluster: str | None = None, limit: int = 50, offset: int = 0) -> list[RunSummary]:
    """Return runs, the newest first.

    Args:
        cluster: Only the runs of this cluster.
        limit: How many at most.
        offset: How many of the newest are left out.
    """
    statement = _summaries().order_by(Run.created_at.desc(), Run.id.desc()).limit(limit).offset(offset)
    if cluster is not None:
        statement = statement.where(Run.cluster == cluster)
    with database.reading() as session:
        return [_summary(row) for row in session.execute(statement)]


def count(cluster: str | None = None) -> int:
    """Return the number of runs."""
    statement = select(func.count()).select_from(Run)
    if cluster is not None:
        statement = statement.where(Run.cluster == cluster)
    with database.reading() as session:
        return session.scalar(statement) or 0


def clusters() -> list[str]:
    """Return the names of the clusters that a run was planned for."""
    with database.reading() as session:
        return list(session.scalars(select(Run.cluster).distinct().order_by(Run.cluster)))


def _summaries() -> Select[*tuple[Any, ...]]:
    before, after = aliased(Evaluation), aliased(Evaluation)
    promoted = exists().where(Promotion.cluster == Run.cluster, Promotion.run_id == Run.run_id)
    return (
        select(
            Run,
            Run.trained.is_not(None),
            Verdict.passed,
            Version.number,
            after.questions,
            before.matched,
            after.matched,
            promoted,
        )
        .outerjoin(Verdict, Verdict.run_id == Run.id)
        .outerjoin(Version, (Version.cluster == Run.cluster) & (Version.run_id == Run.run_id))
        .outerjoin(before, (before.run_id == Run.id) & (before.phase == "before") & before.score.is_not(None))
        .outerjoin(after, (after.run_id == Run.id) & (after.phase == "after") & after.score.is_not(None))
        # Most of a run, and nothing of it is in a summary.
        .options(*(defer(column, raiseload=True) for column in (Run.plan, Run.trained, Run.estimate)))
    )


def _summary(row: Row[*tuple[Any, ...]]) -> RunSummary:
    run, is_trained, passed, version, questions, before, after, promoted = row
    return RunSummary(
        key=run.key,
        run_id=run.run_id,
        cluster=run.cluster,
        recipe=run.recipe,
        dataset_repo=run.dataset_repo,
        dataset_commit=run.dataset_commit,
        state=_state(run, is_trained, passed, promoted),
        same_as=run.same_as,
        version=version,
        questions=questions,
        matched_before=before,
        matched_after=after,
        created_at=run.created_at,
        active_at=run.active_at,
    )


def _state(run: Run, is_trained: bool, passed: bool | None, promoted: bool) -> State:
    if run.same_as is not None:
        return State.NOTHING_NEW
    if promoted:
        return State.PROMOTED
    if passed is not None:
        return State.PASSED if passed else State.HELD_BACK
    return State.TRAINED if is_trained else State.PLANNED
