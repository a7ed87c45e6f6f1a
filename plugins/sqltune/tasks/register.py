"""Task `register`: a number and a lineage for the candidate."""

from __future__ import annotations

import logging
from typing import Any

from sqltune.config.plan import RunPlan
from sqltune.evaluation.score import Score
from sqltune.evaluation.verdict import Verdict
from sqltune.records.files import Record
from sqltune.registry import mlflow_mirror, versions
from sqltune.tasks.mlflow import flush_mlflow

log = logging.getLogger(__name__)


def register(
    plan: dict[str, Any],
    facts: list[dict[str, Any]],
    trained: dict[str, Any],
    adapter: dict[str, Any],
    merged: dict[str, Any],
    verdict: dict[str, Any],
) -> int:
    """Give the candidate a number, whatever the verdict; it and where it comes from are kept, and MLflow is told as soon as it answers."""
    p = RunPlan.model_validate(plan)
    record = Record.of(p.key)
    before, after = (Score.model_validate(record.get(which)) for which in ("before", "after"))
    host = next(f for f in facts if f["host"] == p.cluster.serving.host)
    hours = p.cluster.world_size * trained["seconds"] / 3600
    made = versions.register(
        p.cluster_name,
        p.run_id,
        run_key=p.key,
        host=p.cluster.serving.host,
        merged_path=merged["merged_path"],
        model_hash=merged["model_hash"],
        dtype=p.recipe.serving_dtype,
        lineage={
            "score": f"{after.matched}/{after.questions}",
            "score_before": f"{before.matched}/{before.questions} ({before.model})",
            "verdict": Verdict.model_validate(verdict).headline,
            "dataset_repo": p.dataset_repo,
            "dataset_commit": p.dataset_commit,
            "dataset_date": p.dataset_date,
            "fingerprint": p.fingerprint,
            "recipe": p.recipe_name,
            "base_model": p.base_model,
            "base_model_hash": host["base_model_hash"],
            "code_version": p.code_version,
            "host_versions": " ".join(f"{k}={v}" for k, v in host["versions"].items() if v),
            "checkpoint": trained["checkpoint"],
            "checkpoint_hash": adapter["checkpoint_hash"],
            "adapter": f"{p.run_dir}/adapter",
            "merged": f"{p.run_dir}/merged",
            "model_hash": merged["model_hash"],
            "gpu_hours": f"{hours if p.cluster.accelerator != 'cpu' else 0:.3f}",
            "rank_hours": f"{hours:.3f}",
            "accelerator": p.cluster.accelerator,
        },
    )
    log.info(
        "version %d of %s: %s, %s",
        made.number,
        p.cluster_name,
        made.lineage["score"],
        made.lineage["verdict"],
    )
    mlflow_mirror.tell("version", made)
    flush_mlflow()
    return made.number
