"""Tasks `preflight` and `master_ip`: whether each host can do what the plan wants, and whether the hosts agree."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any

from sqltune import node
from sqltune.config.plan import RunPlan
from sqltune.records.files import installation
from ssh_gang.errors import HostError
from ssh_gang.masking import masked

log = logging.getLogger(__name__)


CLOCK_TOLERANCE = 30.0
"""Seconds a host's clock may be off."""


def preflight(plan: dict[str, Any], host: str) -> dict[str, Any]:
    """Copy our scripts to one host, and look whether it can do what the plan wants; every problem names its fix."""
    p = RunPlan.model_validate(plan)
    h = p.cluster.host(host)
    asyncio.run(node.push(p, h))
    log.info(
        "[%s] environment: %s",
        host,
        " ".join(f"{k}={v}" for k, v in sorted(masked(p.cluster.host_env()).items())),
    )
    answer = node.run(
        p,
        h,
        "preflight.py",
        {
            "work_dir": p.cluster.work_dir,
            "installation": installation(),
            "interface": p.cluster.interface,
            "accelerator": p.cluster.accelerator,
            "processes": h.processes,
            "is_master": h == p.cluster.master,
            "master_port": p.cluster.master_port,
            "base_model": p.base_model,
            "min_free_disk_gb": p.cluster.min_free_disk_gb,
            "min_free_memory_gb": p.cluster.min_free_memory_gb,
        },
        timeout=180,
    )
    facts, problems = answer["facts"], list(answer["problems"])
    off = facts["clock"] - time.time()
    if abs(off) > CLOCK_TOLERANCE:
        problems.append(f"its clock is {off:+.0f} s off: start chrony or systemd-timesyncd there")
    for name, value in facts.items():
        log.info("[%s] %s: %s", host, name, value)
    if problems:
        raise HostError("\n".join(f"{host}: {problem}" for problem in problems))
    return facts | {"host": host}


def master_ip(plan: dict[str, Any], facts: list[dict[str, Any]]) -> str:
    """Address of the master's interface; the hosts' facts are compared on the way: one base model, one set of versions."""
    p = RunPlan.model_validate(plan)
    facts = list(facts)
    problems = []
    for what in ("base_model_hash", "versions"):
        if len({str(f[what]) for f in facts}) > 1:
            differ = "; ".join(f"{f['host']}: {_difference(f[what], facts[0][what])}" for f in facts)
            problems.append(
                f"{what} differs between the hosts ({differ}): make them the same, or ranks will not agree"
            )
    if problems:
        raise HostError("\n".join(problems))
    address = next(f["address"] for f in facts if f["host"] == p.cluster.master.name)
    log.info("master %s, interface %s: %s", p.cluster.master.name, p.cluster.interface, address)
    return address


def _difference(value: Any, other: Any) -> Any:
    return {k: v for k, v in value.items() if v != other.get(k)} or "-" if isinstance(value, dict) else value
