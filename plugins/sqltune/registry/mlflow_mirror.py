"""MLflow's copy of the registry: a run and a version for each candidate, and the alias `champion`.

Changes are queued in the records and sent in order once MLflow answers (`MLFLOW_TRACKING_URI`). Training
never waits for MLflow, and nothing is lost while it is down. Sending a change twice has no effect.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqltune.records import evaluations, outbox, runs, series, verdicts
from sqltune.records.base import Json
from sqltune.records.types import now
from sqltune.registry import versions

if TYPE_CHECKING:
    from mlflow import MlflowClient

log = logging.getLogger(__name__)

ALIAS = "champion"
PHASES: tuple[evaluations.Phase, ...] = ("before", "after", "reference")
"""Evaluations that are logged as artifacts of the MLflow run."""
BATCH = 1000
"""Metrics in one request; MLflow takes no more."""
PROGRESS_METRICS = {
    "loss": "loss",
    "learning_rate": "lr",
    "seconds_per_step": "seconds_per_step",
    "tokens_per_second": "tokens_per_second",
    "memory_mib": "memory",
}
"""MLflow's metric to the field of the training's progress."""
SCORE_METRICS = ("matched", "strict", "exact", "invalid", "vacuous", "questions")
"""Counts of a score that become metrics."""
NUMBER = "sqltune.version"
RUN = "sqltune.run_id"


def uri() -> str | None:
    """Address of MLflow; None where it is not configured and nothing is sent."""
    return os.environ.get("MLFLOW_TRACKING_URI") or None


def model_name(cluster: str) -> str:
    """Name of a cluster's registered model."""
    return f"text2sql-{cluster}"


def enqueue(what: str, version: versions.Version) -> None:
    """Queue a change for MLflow.

    Args:
        what: "version" for a new version, "champion" for a promotion.
        version: The version concerned.
    """
    outbox.put(what, version.cluster, version.number)


def waiting() -> int:
    """How many changes are queued."""
    return len(outbox.waiting())


def oldest() -> float:
    """Seconds that the oldest change has been queued; 0 when the queue is empty."""
    queued = outbox.waiting()
    return (now() - queued[0].created_at).total_seconds() if queued else 0.0


def flush() -> int:
    """Send queued changes to MLflow in order, and return how many remain.

    The first change that fails stays first in the queue; the log holds the reason. Where another process is
    sending, this one leaves it to that.
    """
    if not waiting() or uri() is None:
        return waiting()
    # One attempt each time: the default retries would hold up each task for minutes while MLflow is down
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=uri(), registry_uri=uri())
    while message := outbox.claim_first():
        if not _send(client, message):
            break
    return waiting()


def _send(client: MlflowClient, message: outbox.Message) -> bool:
    """Whether MLflow accepted a change; what it did not accept stays queued."""
    from mlflow.exceptions import MlflowException

    try:
        version = versions.version(message.cluster, message.number)
        number = _version(client, version)
        if message.what == ALIAS:
            client.set_registered_model_alias(model_name(version.cluster), ALIAS, number)
    except (MlflowException, OSError) as e:
        outbox.give_back(message)
        log.warning(
            "MLflow at %s did not accept %s %d: %s. It stays queued and is sent later; nothing is lost",
            uri(),
            message.what,
            message.number,
            str(e).splitlines()[0][:300],
        )
        return False
    outbox.sent(message)
    log.info("sent to MLflow: %s, %s version %s", message.what, model_name(version.cluster), number)
    return True


def _version(client: MlflowClient, version: versions.Version) -> str:
    """MLflow's number of a version; creates the version where it is missing."""
    from mlflow.exceptions import RestException

    name = model_name(version.cluster)
    try:
        client.get_registered_model(name)
    except RestException as e:
        if e.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        client.create_registered_model(
            name,
            description=f"text-to-SQL models trained on the cluster {version.cluster}; "
            f"the alias {ALIAS} marks the one that is served",
        )
    existing = {v.tags.get(NUMBER): v for v in client.search_model_versions(f"name = '{name}'")}
    if known := existing.get(str(version.number)):
        for key, value in version.lineage.items():
            if known.tags.get(key) != value:
                client.set_model_version_tag(name, known.version, key, value)
        return str(known.version)
    run_id = _run(client, version)
    created = client.create_model_version(
        name,
        source=f"ssh://{version.host}/{version.merged_path.lstrip('/')}",
        run_id=run_id,
        tags={
            **version.lineage,
            NUMBER: str(version.number),
            RUN: version.run_id,
            "model_hash": version.model_hash,
        },
        description=f"{version.lineage.get('score', '')}; {version.lineage.get('verdict', '')}",
    )
    return str(created.version)


def _run(client: MlflowClient, version: versions.Version) -> str:
    """Id of a version's MLflow run, with parameters, losses by step, scores and the record's files."""
    experiment = client.get_experiment_by_name(model_name(version.cluster))
    experiment_id = (
        experiment.experiment_id if experiment else client.create_experiment(model_name(version.cluster))
    )
    existing = client.search_runs([experiment_id], f"tags.`{RUN}` = '{version.run_id}'", max_results=1)
    run_id: str = (
        existing[0].info.run_id
        if existing
        else client.create_run(experiment_id, run_name=version.run_id, tags={RUN: version.run_id}).info.run_id
    )
    documents = _documents(version.run_key)
    _log_parameters(client, run_id, version, documents.get("plan", {}))
    metrics = _metrics(version.run_key) if documents else []
    for i in range(0, len(metrics), BATCH):
        client.log_batch(run_id, metrics=metrics[i : i + BATCH])
    for name, document in documents.items():
        client.log_dict(run_id, document, f"{name}.json")
    if "verdict" in documents:
        client.log_text(run_id, documents["verdict"]["table"], "table.txt")
    if config := documents.get("trained", {}).get("config_text"):
        client.log_text(run_id, config, "xtuner_config.py")
    client.set_terminated(run_id)
    return run_id


def _documents(run_key: str) -> dict[str, Json]:
    """What is recorded of a run, by name; each becomes an artifact. Empty for a run that is not recorded."""
    plan = runs.plan(run_key)
    if plan is None:
        return {}
    scores = {phase: evaluations.get(run_key, phase) for phase in PHASES}
    verdict = verdicts.get(run_key)
    documents: dict[str, Json | None] = {
        "plan": plan,
        "trained": runs.trained(run_key),
        "verdict": verdict.document if verdict else None,
        **{phase: score.document if score else None for phase, score in scores.items()},
    }
    return {name: document for name, document in documents.items() if document}


def _log_parameters(client: MlflowClient, run_id: str, version: versions.Version, plan: Json) -> None:
    from mlflow.entities import Param, RunTag

    names = ("base_model", "dataset_repo", "dataset_commit", "recipe_name")
    settings = plan.get("training", {}) | {k: plan[k] for k in names if k in plan}
    params = [Param(k, str(v)) for k, v in settings.items()]
    tags = [RunTag(k, v) for k, v in version.lineage.items()]
    client.log_batch(run_id, params=params, tags=tags)


def _metrics(run_key: str) -> list[Any]:
    """MLflow metrics of a run: the training's progress by step, and both scores."""
    return [*_progress_metrics(run_key), *_score_metrics(run_key)]


def _progress_metrics(run_key: str) -> Iterator[Any]:
    from mlflow.entities import Metric

    for point in series.iterations(run_key):
        values = point.progress.model_dump(include=set(PROGRESS_METRICS.values()))
        for name, key in PROGRESS_METRICS.items():
            if values[key] is not None:
                yield Metric(name, float(values[key]), _milliseconds(point.at), point.progress.step)


def _score_metrics(run_key: str) -> Iterator[Any]:
    from mlflow.entities import Metric

    for phase in ("before", "after"):
        if evaluation := evaluations.get(run_key, phase):
            # The record's time, so that sending twice logs the same metric.
            moment = _milliseconds(evaluation.at)
            for name in SCORE_METRICS:
                yield Metric(f"{phase}_{name}", float(evaluation.score[name]), moment, 0)
            accuracy = evaluation.matched / max(1, evaluation.questions)
            yield Metric(f"{phase}_accuracy", accuracy, moment, 0)


def _milliseconds(moment: datetime) -> int:
    return int(1000 * moment.timestamp())
