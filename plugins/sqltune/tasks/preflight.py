"""Tasks `preflight` and `master_ip`: check each host, and compare the hosts with one another."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from sqltune import node
from sqltune.config.cluster import Host
from sqltune.config.plan import RunPlan
from sqltune.contracts import HostFacts, typed_task
from sqltune.errors import SqltuneError
from sqltune.node_contracts.preflight import (
    PREFLIGHT,
    HostCheck,
    MeasuredHost,
    PreflightRequest,
    PreflightResponse,
)
from sqltune.node_contracts.serving import VLLM_VERSION
from sqltune.records import checkups
from ssh_gang.errors import HostError
from ssh_gang.masking import masked

log = logging.getLogger(__name__)

CLOCK_TOLERANCE = 30.0
"""Seconds that a host's clock may differ from Airflow's."""
PREFLIGHT_TIME = 180.0
"""Seconds for the checks of one host; hashing the base model takes most of it."""


@typed_task
def preflight(plan: RunPlan, host: str) -> HostFacts:
    """Copy the scripts to a host, and check that it can do its part of the run.

    Raises:
        HostError: All problems of the host at once, each with its remedy.
    """
    target = plan.cluster.host(host)
    asyncio.run(node.push(plan, target))
    environment = sorted(masked(plan.cluster.host_env()).items())
    log.info("[%s] environment: %s", host, " ".join(f"{k}={v}" for k, v in environment))
    response = node.run(plan, target, PREFLIGHT, _request(plan, target), time_limit=PREFLIGHT_TIME)
    for name, value in response.facts:
        log.info("[%s] %s: %s", host, name, value)
    checked = response.model_copy(update={"checks": [*response.checks, _clock_check(response.facts)]})
    _record(plan, host, checked)
    if problems := checked.problems:
        raise HostError("\n".join(f"{host}: {problem}" for problem in problems))
    return HostFacts(**response.facts.model_dump(), host=host)


def _request(plan: RunPlan, host: Host) -> PreflightRequest:
    cluster = plan.cluster
    serves = host == cluster.serving_host
    return PreflightRequest(
        work_dir=cluster.work_dir,
        installation=plan.installation,
        interface=cluster.interface,
        accelerator=cluster.accelerator,
        processes=host.processes,
        serving_gpus=cluster.serving.num_gpus if serves else 0,
        vllm=VLLM_VERSION if serves and cluster.serving.engine == "vllm" else None,
        is_master=host == cluster.master,
        master_port=cluster.master_port,
        base_model=plan.base_model,
        min_free_disk_gb=cluster.min_free_disk_gb,
        min_free_memory_gb=cluster.min_free_memory_gb,
    )


def _record(plan: RunPlan, host: str, response: PreflightResponse) -> None:
    """Record the checks; a host is not less fit for a run while the records cannot be written."""
    try:
        checkups.put(plan.key, host, response)
    except (SQLAlchemyError, SqltuneError) as e:
        log.warning("[%s] its checks are not recorded: %s", host, (str(e).splitlines() or [""])[0])


def _clock_check(facts: MeasuredHost) -> HostCheck:
    offset = facts.clock - time.time()
    problem = (
        f"its clock is {offset:+.0f} s off ({CLOCK_TOLERANCE:.0f} s are allowed): "
        "start chrony or systemd-timesyncd there"
    )
    return HostCheck(
        name="clock",
        value=f"{offset:+.1f} s",
        limit=f"±{CLOCK_TOLERANCE:.0f} s",
        problem=problem if abs(offset) > CLOCK_TOLERANCE else None,
    )


@typed_task
def master_ip(plan: RunPlan, facts: list[HostFacts]) -> str:
    """Compare the hosts, and return the IPv4 address of the master's interface.

    Raises:
        HostError: The hosts have different base models or package versions.
    """
    problems = [
        *_difference("base_model_hash", {f.host: {"hash": f.base_model_hash} for f in facts}),
        *_difference("versions", {f.host: f.versions for f in facts}),
    ]
    if problems:
        raise HostError("\n".join(problems))
    master = plan.cluster.master.name
    address = next(f.address for f in facts if f.host == master)
    log.info("master %s, interface %s: %s", master, plan.cluster.interface, address)
    return address


def _difference(what: str, values: Mapping[str, Mapping[str, Any]]) -> Sequence[str]:
    """A problem when a fact differs between hosts, with what differs from the first host's."""
    first = next(iter(values.values()))
    if all(value == first for value in values.values()):
        return []
    details = "; ".join(
        f"{host}: {({k: v for k, v in value.items() if v != first.get(k)}) or '-'}"
        for host, value in values.items()
    )
    return [f"{what} differs between the hosts ({details}): make them equal, or the ranks will not agree"]
