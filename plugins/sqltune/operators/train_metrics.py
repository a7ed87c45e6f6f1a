"""Metrics of a training that has ended well."""

from __future__ import annotations

import logging

from sqlalchemy.exc import SQLAlchemyError

from sqltune.config.plan import RunPlan
from sqltune.metrics import emit
from ssh_gang.event import GangEvent
from ssh_gang.progress import Progress

log = logging.getLogger(__name__)


def emit_training(plan: RunPlan, event: GangEvent, progress: Progress, resumed_from: int) -> None:
    """Send what a training took.

    Args:
        plan: The run plan.
        event: How its gang ended.
        progress: Its last iteration.
        resumed_from: The iteration of the checkpoint that this attempt went on from.
    """
    cluster, ranks = plan.cluster_name, plan.cluster.world_size
    steps = progress.step - resumed_from
    speed = progress.tokens_per_second
    emit(cluster, "train.duration", event.seconds)
    emit(cluster, "train.launch_skew", event.launch_skew)
    emit(cluster, "train.steps_per_second", steps / event.seconds if event.seconds else None)
    emit(cluster, "train.tokens_per_second", speed and speed * ranks)
    emit(cluster, "train.loss", progress.loss)
    emit(cluster, "train.goodput", _goodput(plan.key))
    if plan.cluster.accelerator != "cpu":
        emit(cluster, "train.gpu_seconds", event.seconds * ranks)


def _goodput(key: str) -> float | None:
    from sqltune.records import attempts

    try:
        training = [one for one in attempts.of_run(key) if one.task == attempts.TRAINING]
        goodput = attempts.goodput(key, training)
    except SQLAlchemyError as e:
        log.warning("goodput is not known: %s", e)
        return None
    return goodput.share if goodput else None
