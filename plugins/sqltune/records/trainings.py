"""How fast earlier trainings were: iterations, and the time around them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, select
from sqlalchemy.orm import Session

from sqltune.node_contracts.preflight import MeasuredHost
from sqltune.records import database
from sqltune.records.base import Json
from sqltune.records.measured_strategy import WARM_UP
from sqltune.records.models import GangMilestone, GpuSample, HostCheckup, Iteration, Run

TASK = "train"


@dataclass(frozen=True)
class MeasuredTraining:
    """What one run took."""

    run_id: str
    recipe: str
    plan: Json
    strategy: str
    """DeepSpeed's, the one that was really used."""
    steps: int
    """Iterations of the attempt that finished."""
    seconds_per_step: float
    """On average, without the first ones."""
    tokens_per_second: float | None
    """Of one rank, padding included."""
    seconds: float | None
    """From the start signal to the end; None where the attempt went on from a checkpoint."""


def measured(cluster: str, limit: int = 20) -> list[MeasuredTraining]:
    """Return the newest finished trainings of a cluster, the newest first."""
    newest = _FINISHED.where(Run.cluster == cluster).order_by(Run.created_at.desc()).limit(limit)
    with database.reading() as session:
        found = [_measured(session, row) for row in session.execute(newest)]
    return [training for training in found if training is not None]


def of_run(run_key: str) -> MeasuredTraining | None:
    """Return what one run's training took; None before its end, or where nothing was logged."""
    with database.reading() as session:
        row = session.execute(_FINISHED.where(Run.key == run_key)).one_or_none()
        return None if row is None else _measured(session, row)


def gpu_memory(cluster: str) -> float | None:
    """Return the memory of the cluster's smallest GPU in GiB, by the samples of its newest training."""
    with database.reading() as session:
        newest = (
            select(GpuSample.run_id)
            .join(Run, Run.id == GpuSample.run_id)
            .where(Run.cluster == cluster)
            .order_by(Run.created_at.desc())
            .limit(1)
            .scalar_subquery()
        )
        totals = select(GpuSample.memory_total).where(GpuSample.run_id == newest)
        smallest = min(session.scalars(totals.distinct()), default=None)
        return None if smallest is None else smallest / 1024


def hosts(cluster: str, base_model: str, limit: int = 20) -> list[MeasuredHost]:
    """Return what preflight found on the hosts of the cluster's newest run with this base model."""
    with database.reading() as session:
        runs = session.execute(
            select(Run.id, Run.plan)
            .where(Run.cluster == cluster)
            .order_by(Run.created_at.desc())
            .limit(limit)
        ).all()
        for number, plan in runs:
            if plan["base_model"] != base_model:
                continue
            facts = session.scalars(select(HostCheckup.facts).where(HostCheckup.run_id == number)).all()
            if facts:
                return [MeasuredHost.model_validate(fact) for fact in facts]
    return []


_FINISHED = select(Run.id, Run.run_id, Run.recipe, Run.plan, Run.trained).where(Run.trained.is_not(None))


def _measured(session: Session, row: Row[*tuple[Any, ...]]) -> MeasuredTraining | None:
    number, run_id, recipe, plan, trained = row
    attempt = trained.get("attempt")
    lines = session.execute(
        select(Iteration.step, Iteration.seconds_per_step, Iteration.tokens_per_second)
        .where(Iteration.run_id == number, Iteration.attempt == attempt)
        .order_by(Iteration.step)
    ).all()
    milestones = session.execute(
        select(GangMilestone.kind, GangMilestone.at).where(
            GangMilestone.run_id == number, GangMilestone.task == TASK, GangMilestone.attempt == attempt
        )
    ).all()
    timed = [(step, seconds, rate) for step, seconds, rate in lines if seconds]
    # A line may stand for several iterations; the first one then holds the warm-up.
    steady = [line for line in timed if line[0] > max(WARM_UP, timed[0][0])] or timed
    if not steady:
        return None
    rates = [rate for _, _, rate in steady if rate]
    moments = {kind: at for kind, at in milestones}  # noqa: C416 # dict() does not take rows
    whole = "resumed" not in moments and {"started", "ended"} <= moments.keys()
    return MeasuredTraining(
        run_id=run_id,
        recipe=recipe,
        plan=plan,
        # Before strategies were probed, the plan's was used.
        strategy=trained.get("strategy") or plan["training"].get("deepspeed", ""),
        steps=timed[-1][0],
        seconds_per_step=sum(seconds for _, seconds, _ in steady) / len(steady),
        tokens_per_second=sum(rates) / len(rates) if rates else None,
        seconds=(moments["ended"] - moments["started"]).total_seconds() if whole else None,
    )
