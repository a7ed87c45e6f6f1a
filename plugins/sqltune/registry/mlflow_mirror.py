"""MLflow's view of the registry: a run and a version for each trained candidate, and the alias `champion`.

What is to be told is written down first, and told in that order as soon as MLflow answers (`MLFLOW_TRACKING_URI`): a training never waits for it, and
nothing is lost while it is down. Telling twice changes nothing.
"""

from __future__ import annotations

import json
import logging
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqltune.records.files import Record, home, read_json, write_json
from sqltune.registry import versions

if TYPE_CHECKING:
    from mlflow import MlflowClient

log = logging.getLogger(__name__)

ALIAS = "champion"
ARTIFACTS = ("plan.json", "verdict.json", "before.json", "after.json", "reference.json", "trained.json")
"""Files of the run's record that are kept with its version."""
NUMBER = "sqltune.version"
RUN = "sqltune.run_id"


def uri() -> str | None:
    """Where MLflow is, or None: then nothing is told."""
    return os.environ.get("MLFLOW_TRACKING_URI") or None


def model_name(cluster: str) -> str:
    """The registered model of a cluster."""
    return f"text2sql-{cluster}"


def _outbox() -> Path:
    return home() / "outbox"


def tell(what: str, version: versions.Version) -> None:
    """Write down that MLflow is to know of a `version`, or that it is the `champion` now."""
    write_json(
        _outbox() / f"{time.time_ns()}-{what}.json",
        {"what": what, "cluster": version.cluster, "number": version.number},
    )


def waiting() -> list[Path]:
    """What MLflow has not been told yet, oldest first."""
    return sorted(_outbox().glob("*.json"))


def oldest() -> float:
    """Seconds that the first in line has waited; 0 when nothing waits."""
    return time.time() - int(waiting()[0].name.partition("-")[0]) / 1e9 if waiting() else 0.0


def flush() -> int:
    """Tell MLflow what waits; how much still waits. A word that fails stays first in line, and its reason is logged."""
    if not waiting() or uri() is None:
        return len(waiting())
    # A server that is away is asked once, and again at the next look: not for minutes by every task.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    client = MlflowClient(tracking_uri=uri(), registry_uri=uri())
    # A lock of its own: a promotion does not wait for a slow MLflow.
    with versions.locked("outbox"):
        for path in waiting():
            item = read_json(path)
            try:
                version = versions.version(item["cluster"], item["number"])
                number = _version(client, version)
                if item["what"] == ALIAS:
                    client.set_registered_model_alias(model_name(version.cluster), ALIAS, number)
            except (MlflowException, OSError) as e:
                log.warning(
                    "MLflow at %s was not told of %s %d: %s; it is told later, nothing is lost",
                    uri(),
                    item["what"],
                    item["number"],
                    str(e).splitlines()[0][:300],
                )
                break
            path.unlink()
            log.info("MLflow knows of %s: %s version %s", item["what"], model_name(version.cluster), number)
    return len(waiting())


def _version(client: MlflowClient, version: versions.Version) -> str:
    """MLflow's number of a version, which is made when it is not there."""
    from mlflow.exceptions import RestException

    name = model_name(version.cluster)
    try:
        client.get_registered_model(name)
    except RestException as e:
        if e.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        client.create_registered_model(
            name,
            description=f"text-to-SQL models trained for the cluster {version.cluster}; {ALIAS} is the one that serves",
        )
    there = {v.tags.get(NUMBER): v for v in client.search_model_versions(f"name = '{name}'")}
    if str(version.number) in there:
        found = there[str(version.number)]
        for key, value in version.lineage.items():
            if found.tags.get(key) != value:
                client.set_model_version_tag(name, found.version, key, value)
        return str(found.version)
    run_id = _run(client, version)
    made = client.create_model_version(
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
    return str(made.version)


def _run(client: MlflowClient, version: versions.Version) -> str:
    """The id of a version's MLflow run: parameters, losses by step, scores, and the record's files."""
    experiment = client.get_experiment_by_name(model_name(version.cluster))
    experiment_id = (
        experiment.experiment_id if experiment else client.create_experiment(model_name(version.cluster))
    )
    found = client.search_runs([experiment_id], f"tags.`{RUN}` = '{version.run_id}'", max_results=1)
    run_id = (
        found[0].info.run_id
        if found
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
    from mlflow.entities import Metric

    path = record.folder / "progress.jsonl"
    found = []
    last: dict[int, dict[str, Any]] = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        told = json.loads(line)
        # A step that a later try took again is that try's.
        last[told["progress"]["step"]] = told
    for step, told in sorted(last.items()):
        for name, key in (
            ("loss", "loss"),
            ("learning_rate", "lr"),
            ("seconds_per_step", "seconds_per_step"),
            ("tokens_per_second", "tokens_per_second"),
            ("memory_mib", "memory"),
        ):
            if told["progress"].get(key) is not None:
                found.append(Metric(name, float(told["progress"][key]), int(1000 * told["at"]), step))
    # Scores have the moment of the record, so that telling twice says the same.
    for which in ("before", "after"):
        score = record.get(which)
        if score:
            moment = int(1000 * (record.folder / f"{which}.json").stat().st_mtime)
            for name in ("matched", "strict", "exact", "invalid", "vacuous", "questions"):
                found.append(Metric(f"{which}_{name}", float(score[name]), moment, 0))
            found.append(
                Metric(f"{which}_accuracy", score["matched"] / max(1, score["questions"]), moment, 0)
            )
    return found
