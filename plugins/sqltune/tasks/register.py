"""Task `register`: a number and a lineage for the candidate."""

from __future__ import annotations

import logging

from sqltune.config.plan import RunPlan
from sqltune.contracts import ExportedModel, HostFacts, TrainedCheckpoint, typed_task
from sqltune.evaluation import stored
from sqltune.evaluation.verdict import Verdict
from sqltune.registry import mlflow_mirror, versions
from sqltune.serving.hook import server_settings
from sqltune.tasks.mlflow import flush_mlflow

log = logging.getLogger(__name__)


@typed_task
def register(
    plan: RunPlan,
    facts: list[HostFacts],
    trained: TrainedCheckpoint,
    exported: ExportedModel,
    verdict: Verdict,
) -> int:
    """Register the candidate with its lineage, whatever the verdict, and queue it for MLflow.

    Returns:
        Number of the version; a retry gets the same one.
    """
    serving_host = next(f for f in facts if f.host == plan.cluster.serving.host)
    lineage = (
        _scores(plan, verdict)
        | _inputs(plan, serving_host)
        | _artefacts(plan, trained, exported)
        | _cost(plan, trained)
    )
    version = versions.register(
        plan.cluster_name,
        plan.run_id,
        run_key=plan.key,
        host=plan.cluster.serving.host,
        merged_path=exported.merged_path,
        model_hash=exported.model_hash,
        dtype=plan.recipe.serving_dtype,
        lineage=lineage,
    )
    log.info(
        "version %d of %s: %s, %s",
        version.number,
        plan.cluster_name,
        version.lineage["score"],
        version.lineage["verdict"],
    )
    mlflow_mirror.enqueue("version", version)
    flush_mlflow()
    return version.number


def _scores(plan: RunPlan, verdict: Verdict) -> dict[str, str]:
    before, after = stored.required_score(plan.key, "before"), stored.required_score(plan.key, "after")
    return {
        "score": f"{after.matched}/{after.questions}",
        "score_before": f"{before.matched}/{before.questions} ({before.model})",
        "verdict": verdict.headline,
    }


def _inputs(plan: RunPlan, host: HostFacts) -> dict[str, str]:
    return {
        "dataset_repo": plan.dataset_repo,
        "dataset_commit": plan.dataset_commit,
        "dataset_date": plan.dataset_date,
        "fingerprint": plan.fingerprint,
        "recipe": plan.recipe_name,
        "base_model": plan.base_model,
        "base_model_hash": host.base_model_hash,
        "started_from": f"version {plan.start.version}" if plan.start else "base model",
        "code_version": plan.code_version,
        "engine": _engine(plan, host),
        "host_versions": " ".join(f"{k}={v}" for k, v in host.versions.items() if v),
    }


def _engine(plan: RunPlan, host: HostFacts) -> str:
    """What computed the answers that the version was judged by, with its version and data type."""
    label = server_settings(plan, plan.recipe.serving_dtype, plan.base_model).engine_label
    if plan.cluster.serving.engine != "fastchat":
        return label
    return f"{label} ({host.versions.get('fschat')})"


def _artefacts(plan: RunPlan, trained: TrainedCheckpoint, exported: ExportedModel) -> dict[str, str]:
    return {
        "split_hash": trained.train_hash,
        "strategy": trained.strategy or plan.training.deepspeed,
        "checkpoint": trained.checkpoint,
        "checkpoint_hash": exported.checkpoint_hash,
        "adapter": f"{plan.run_dir}/adapter",
        "adapter_hash": exported.adapter_hash,
        "merged": f"{plan.run_dir}/merged",
        "model_hash": exported.model_hash,
    }


def _cost(plan: RunPlan, trained: TrainedCheckpoint) -> dict[str, str]:
    """Hours of all ranks together; hours of GPUs where the ranks have one each."""
    hours = plan.cluster.world_size * trained.seconds / 3600
    return {
        "gpu_hours": f"{hours if plan.cluster.accelerator != 'cpu' else 0:.3f}",
        "rank_hours": f"{hours:.3f}",
        "accelerator": plan.cluster.accelerator,
    }
