"""The chain's own metrics, sent through Airflow's: StatsD or OpenTelemetry, as `[metrics]` of Airflow says.

A name is `sqltune.<cluster>.<metric>`; Airflow puts its prefix before it. docs/metrics.md lists them, and
Airflow's own for runs and tasks. A metric that cannot be sent fails nothing.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Metric:
    """One metric of the chain."""

    name: str
    kind: Literal["counter", "gauge", "timer"]
    unit: str
    meaning: str


METRICS = (
    Metric("queue", "timer", "ms", "how long a run waited for another one of its cluster"),
    Metric("train.duration", "timer", "ms", "training, from the start signal to the end of the slowest host"),
    Metric("train.launch_skew", "timer", "ms", "time between the first and the last host's start"),
    Metric("train.steps_per_second", "gauge", "1/s", "iterations a second, over the whole attempt"),
    Metric("train.tokens_per_second", "gauge", "1/s", "tokens a second on all ranks, padding included"),
    Metric("train.loss", "gauge", "1", "loss of the last iteration"),
    Metric(
        "train.goodput",
        "gauge",
        "0 to 1",
        "share of the training's wall-clock time spent in steps that count",
    ),
    Metric("train.gpu_seconds", "counter", "s", "seconds of all GPUs; 3600 of them are a GPU-hour"),
    Metric("score.before", "gauge", "0 to 1", "share of the questions that the served model answers"),
    Metric("score.after", "gauge", "0 to 1", "share of the questions that the candidate answers"),
    Metric("latency.before", "timer", "ms", "p95 latency of the served model's answers"),
    Metric("latency.after", "timer", "ms", "p95 latency of the candidate's answers"),
    Metric("verdict.passed", "counter", "1", "candidates that the gate passed"),
    Metric("verdict.held_back", "counter", "1", "candidates that the gate held back"),
    Metric("promotions", "counter", "1", "versions that began to serve"),
    Metric("disk_free", "gauge", "GiB", "free space for the work folder, on the host that has the least"),
    Metric("records_size", "gauge", "GiB", "size of the records' database, once a day"),
    Metric("log_store_size", "gauge", "GiB", "size of all whole logs, once a day"),
)
CONTROL_PLANE = "airflow"
"""Stands in the place of the cluster in a metric of the machine that Airflow runs on."""
_BY_NAME = {metric.name: metric for metric in METRICS}


def emit(cluster: str, name: str, value: float | None) -> None:
    """Send one metric; nothing where it is not known, or where Airflow sends none.

    Args:
        cluster: Name of the cluster; it becomes part of the metric's name.
        name: Name of the metric, one of `METRICS`.
        value: In the metric's unit; a timer's in seconds.
    """
    metric = _BY_NAME[name]
    if value is None:
        return
    try:
        # Imported here: the records and the command line do without Airflow.
        from airflow.sdk.observability import stats

        # A dot divides the parts of a name.
        full = f"sqltune.{cluster.replace('.', '_')}.{name}"
        match metric.kind:
            case "counter":
                stats.incr(full, max(0, round(value)))
            case "gauge":
                stats.gauge(full, value)
            case "timer":
                stats.timing(full, timedelta(seconds=value))
    except Exception as e:  # a metric must not fail a task
        log.warning("metric %s is not sent: %s: %s", name, type(e).__name__, e)
