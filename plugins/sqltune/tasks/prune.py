"""Task `prune`: remove old models and checkpoints from the hosts."""

from __future__ import annotations

import logging

from sqltune import node
from sqltune.config.cluster import Keep
from sqltune.config.plan import RunPlan
from sqltune.contracts import typed_task
from sqltune.node_contracts.retention import RETENTION, RetentionRequest, RetentionResponse
from sqltune.records.runs import by_activity
from sqltune.registry import versions

log = logging.getLogger(__name__)

PRUNE_TIME = 1800.0
"""Seconds for removing folders and measuring the disk."""


@typed_task
def prune(plan: RunPlan, host: str) -> RetentionResponse:
    """Remove from one host what the cluster's `keep` does not name, and report its disk usage."""
    request = retention(plan)
    response = node.run(plan, plan.cluster.host(host), RETENTION, request, time_limit=PRUNE_TIME)
    log.info(
        "[%s] %.2f GiB removed (%s). Disk: %s",
        host,
        response.freed_gib,
        ", ".join(response.removed) or "nothing",
        ", ".join(f"{k} {v:.1f} GiB" for k, v in response.disk.items()),
    )
    return response


def retention(plan: RunPlan) -> RetentionRequest:
    """Which runs keep their merged model, and which their checkpoints."""
    keep = plan.cluster.keep
    # By the time of the last record: a run in progress is among the newest.
    known = by_activity()
    newest = {plan.key, *known[-keep.checkpoints :]}
    # A version that was imported from version 0.1 has no run in the records.
    registered = {v.run_key for v in versions.versions(plan.cluster_name)}
    return RetentionRequest(
        runs=f"{plan.cluster.work_dir}/runs",
        work_dir=plan.cluster.work_dir,
        known=sorted(registered.union(known)),
        merged=sorted(_runs_with_kept_model(plan.cluster_name, keep) | newest),
        checkpoints=sorted(newest),
    )


def _runs_with_kept_model(cluster_name: str, keep: Keep) -> set[str]:
    """Runs of the newest versions, of the champion, and of the version served before it."""
    newest = {v.run_key for v in versions.versions(cluster_name)[-keep.merged_models :]}
    return newest | versions.served_runs(cluster_name)
