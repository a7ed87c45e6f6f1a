"""Task `prune`: old models and checkpoints are removed from the hosts."""

from __future__ import annotations

import contextlib
import logging
from typing import Any

from sqltune import node
from sqltune.config.cluster import Keep
from sqltune.config.plan import RunPlan
from sqltune.errors import RegistryError
from sqltune.records.files import home
from sqltune.registry import versions

log = logging.getLogger(__name__)


def kept(cluster_name: str, keep: Keep, run_key: str) -> dict[str, list[str]]:
    """Runs that are known, those whose merged model stays (the champion's and the one's before it always), and those whose checkpoints stay."""
    there = versions.versions(cluster_name)
    serving = {versions.champion(cluster_name)}
    with contextlib.suppress(RegistryError):
        serving.add(versions.before(cluster_name).champion)
    merged = {v.run_key for v in there[-keep.merged_models :]} | {
        v.run_key for v in there if v.champion in serving
    }
    # By when something was last written there: a run that goes on beside this one is among the newest.
    runs = sorted(
        (folder for folder in (home() / "runs").iterdir() if folder.is_dir()),
        key=lambda f: max(x.stat().st_mtime for x in [f, *f.iterdir()]),
    )
    newest = {run_key} | {f.name for f in runs[-keep.checkpoints :]}
    return {
        "known": sorted(f.name for f in runs),
        "merged": sorted(merged | newest),
        "checkpoints": sorted(newest),
    }


def prune(plan: dict[str, Any], host: str) -> dict[str, Any]:
    """Remove what the cluster's `keep` does not name from one host, and say what its disk holds."""
    p = RunPlan.model_validate(plan)
    want = kept(p.cluster_name, p.cluster.keep, p.key) | {
        "runs": f"{p.cluster.work_dir}/runs",
        "work_dir": p.cluster.work_dir,
    }
    result = node.run(p, p.cluster.host(host), "retention.py", want, timeout=1800)
    log.info(
        "[%s] %.2f GiB removed (%s); disk: %s",
        host,
        result["freed_gib"],
        ", ".join(result["removed"]) or "nothing",
        ", ".join(f"{k} {v:.1f} GiB" for k, v in result["disk"].items()),
    )
    return result
