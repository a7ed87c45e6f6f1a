"""MLflow's copy of the registry: a run and a version for each candidate, and the alias `champion`.

Changes are queued in the records and sent in order once MLflow answers (`MLFLOW_TRACKING_URI`). Training
never waits for MLflow, and nothing is lost while it is down. Sending a change twice has no effect.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from sqltune.records import outbox
from sqltune.records.files import Record
from sqltune.records.types import now
from sqltune.registry import versions

if TYPE_CHECKING:
    from mlflow import MlflowClient

log = logging.getLogger(__name__)

ALIAS = "champion"
ARTIFACTS = ("plan.json", "verdict.json", "before.json", "after.json", "reference.json", "trained.json")
"""Files of the run's record that are logged as artifacts of its MLflow run."""
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


def tell(what: str, version: versions.Version) -> None:
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
    runs = client.search_runs([experiment_id], f"tags.`{RUN}` = '{version.run_id}'", max_results=1)
    run_id: str = (
        runs[0].info.run_id
        if runs
        else client.create_run(experiment_id, run_name=version.run_id, tags={RUN: version.run_id}).info.run_id
    )
    record = Record.of(version.run_key)
    from mlflow.entities import Param, RunTag

    plan = record.get("plan", {})
    given = plan.get("training", {}) | {
        k: plan[k] for k in ("base_model", "dataset_repo", "dataset_commit", "recipe_name") if k in plan
    }
    params = [Param(k, str(v)) for k, v in given.items()]
    tags = [RunTag(k, v) for k, v in version.lineage.items()]
    client.log_batch(run_id, params=params, tags=tags)
    metrics = _metrics(record)
    for i in range(0, len(metrics), 1000):
        client.log_batch(run_id, metrics=metrics[i : i + 1000])
    for name in ARTIFACTS:
        if (record.folder / name).is_file():
            client.log_artifact(run_id, str(record.folder / name))
    verdict = record.get("verdict", {})
    if "table" in verdict:
        client.log_text(run_id, verdict["table"], "table.txt")
    if config := record.get("trained", {}).get("config_text"):
        client.log_text(run_id, config, "xtuner_config.py")
    client.set_terminated(run_id)
    return run_id


def _metrics(record: Record) -> list[Any]:
    """MLflow metrics of a record: the training's progress by step, and both scores."""
    return [*_progress_metrics(record), *_score_metrics(record)]


def _progress_metrics(record: Record) -> Iterator[Any]:
    from mlflow.entities import Metric

    path = record.folder / "progress.jsonl"
    entries = (
        [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []
    )
    # The last entry of a step counts: a later attempt that resumed before it has trained it again.
    last = {entry["progress"]["step"]: entry for entry in entries}
    for step, entry in sorted(last.items()):
        for name, key in PROGRESS_METRICS.items():
            if entry["progress"].get(key) is not None:
                yield Metric(name, float(entry["progress"][key]), int(1000 * entry["at"]), step)


def _score_metrics(record: Record) -> Iterator[Any]:
    from mlflow.entities import Metric

    for which in ("before", "after"):
        if score := record.get(which):
            # The record's time, so that sending twice logs the same metric.
            moment = int(1000 * (record.folder / f"{which}.json").stat().st_mtime)
            for name in SCORE_METRICS:
                yield Metric(f"{which}_{name}", float(score[name]), moment, 0)
            yield Metric(f"{which}_accuracy", score["matched"] / max(1, score["questions"]), moment, 0)
