"""Checks whether this host can take part in a run.

    python preflight.py '{"base_model": "~/models/base", "accelerator": "cpu", …}'

Prints RESULT with the facts and all problems at once, each with its remedy.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from hashing import folder_hash
from host_checks.facts import GIB, address_of, free_memory, interfaces, versions
from host_checks.gpus import foreign_processes, gpus
from host_checks.ownership import MARK, owner
from host_checks.ports import listener
from vllm_bridge.environment import environment, installed_version, version_problem

try:
    from sqltune.node_contracts.preflight import (
        PREFLIGHT,
        Architecture,
        HostCheck,
        MeasuredHost,
        PreflightRequest,
        PreflightResponse,
    )
except ModuleNotFoundError as e:
    # The one package that this script needs; without it the host has no node environment worth checking.
    sys.exit(f"{e.name} is not installed in {sys.prefix}: run include/node/bootstrap.sh on the host")

_PROXY = ("http_proxy", "https_proxy", "no_proxy")
_USER = re.compile(r"://[^/]*@")


def check(request: PreflightRequest) -> PreflightResponse:
    """Facts of this host, and what every check makes of them."""
    work_dir = Path(request.work_dir).expanduser()
    work_dir.mkdir(parents=True, exist_ok=True)
    cards, gpu_problem = ([], None) if request.accelerator == "cpu" else gpus(request.accelerator)
    facts = measure(request, work_dir, cards)
    checks = [
        ownership_check(request, work_dir),
        packages_check(request, facts),
        disk_check(request, facts, work_dir),
        memory_check(request, facts),
        interface_check(request, facts),
        *master_port_check(request),
        *gpu_checks(request, cards, gpu_problem),
        base_model_check(request, facts),
    ]
    return PreflightResponse(facts=facts, checks=checks)


def measure(request: PreflightRequest, work_dir: Path, cards: list[str]) -> MeasuredHost:
    """Measure what the checks compare."""
    model = Path(request.base_model).expanduser()
    config = model / "config.json"
    return MeasuredHost(
        hostname=socket.gethostname(),
        python=sys.version.split()[0],
        versions=versions(),
        cpus=os.cpu_count(),
        gpus=cards,
        free_disk_gb=round(shutil.disk_usage(work_dir).free / GIB, 1),
        free_memory_gb=round(free_memory(), 1),
        clock=time.time(),
        # The facts are logged and passed on: without the name and password of a proxy's user.
        proxy={k: _USER.sub("://***@", v) for k, v in os.environ.items() if k.lower() in _PROXY},
        address=address_of(request.interface),
        base_model_hash=folder_hash(model) if config.is_file() else None,
        architecture=Architecture.read(config.read_text()) if config.is_file() else None,
    )


def ownership_check(request: PreflightRequest, work_dir: Path) -> HostCheck:
    """The work folder belongs to this Airflow: two of them would remove one another's models."""
    installation = owner(work_dir, request.installation)
    problem = (
        f"{work_dir} belongs to another Airflow (installation {installation}, this one is "
        f"{request.installation}), and each would remove the other's models: set work_dir in the "
        "cluster file to a folder of its own; if the other installation is gone for good, remove "
        f"{work_dir / MARK}"
    )
    is_own = installation == request.installation
    return HostCheck(name="work_dir", value=str(work_dir), problem=None if is_own else problem)


def packages_check(request: PreflightRequest, facts: MeasuredHost) -> HostCheck:
    """The node environment is complete, and vLLM's where this host serves with it."""
    missing = [name for name, version in facts.versions.items() if version is None]
    problem = f"{', '.join(missing)} not installed in {sys.prefix}: run include/node/bootstrap.sh on the host"
    installed = f"{len(facts.versions) - len(missing)} of {len(facts.versions)}"
    vllm_problem = version_problem(request.vllm, environment()) if request.vllm else None
    return HostCheck(
        name="packages",
        value=f"{installed}, vllm {installed_version(environment())}" if request.vllm else installed,
        problem="; ".join([*([problem] if missing else []), *([vllm_problem] if vllm_problem else [])])
        or None,
    )


def disk_check(request: PreflightRequest, facts: MeasuredHost, work_dir: Path) -> HostCheck:
    """The disk suffices."""
    problem = (
        f"{facts.free_disk_gb} GiB are free under {work_dir}, {request.min_free_disk_gb} are required: "
        "delete old runs there, or lower min_free_disk_gb"
    )
    return HostCheck(
        name="disk",
        value=f"{facts.free_disk_gb} GiB",
        limit=f"{request.min_free_disk_gb} GiB",
        problem=problem if facts.free_disk_gb < request.min_free_disk_gb else None,
    )


def memory_check(request: PreflightRequest, facts: MeasuredHost) -> HostCheck:
    """The memory suffices."""
    problem = (
        f"{facts.free_memory_gb} GiB of memory are available, {request.min_free_memory_gb} are required: "
        "stop other processes there, or lower min_free_memory_gb"
    )
    return HostCheck(
        name="memory",
        value=f"{facts.free_memory_gb} GiB",
        limit=f"{request.min_free_memory_gb} GiB",
        problem=problem if facts.free_memory_gb < request.min_free_memory_gb else None,
    )


def interface_check(request: PreflightRequest, facts: MeasuredHost) -> HostCheck:
    """The interface has an address."""
    problem = (
        f"no interface {request.interface!r} with an IPv4 address (interfaces: {interfaces()}): "
        "set interface in the cluster file"
    )
    return HostCheck(
        name="interface",
        value=facts.address or "",
        limit=request.interface,
        problem=problem if facts.address is None else None,
    )


def master_port_check(request: PreflightRequest) -> Iterator[HostCheck]:
    """The master's port is free; other hosts are not checked."""
    if not request.is_master:
        return
    process = listener(request.master_port)
    problem = (
        f"port {request.master_port} is in use ({process}): stop that process, "
        "or set master_port in the cluster file"
    )
    yield HostCheck(
        name="master_port",
        value=process or "",
        limit=str(request.master_port),
        problem=problem if process else None,
    )


def gpu_checks(request: PreflightRequest, cards: list[str], tool_problem: str | None) -> Iterator[HostCheck]:
    """The host has a GPU for each rank and each of a model worker, and no foreign process uses one."""
    if tool_problem:
        yield HostCheck(name="gpus", value="", limit=str(request.processes), problem=tool_problem)
    elif request.accelerator != "cpu":
        yield gpu_count_check(request, cards)
    if request.serving_gpus and not tool_problem:
        yield serving_gpus_check(request, cards)
    if request.accelerator != "cpu":
        yield foreign_processes_check(request)


def gpu_count_check(request: PreflightRequest, cards: list[str]) -> HostCheck:
    """The host has a GPU for each rank."""
    problem = (
        f"{len(cards)} GPUs, {request.processes} are required: correct processes in the cluster file, "
        "or look in dmesg for a card that dropped out"
    )
    return HostCheck(
        name="gpus",
        value=str(len(cards)),
        limit=str(request.processes),
        problem=problem if len(cards) < request.processes else None,
    )


def serving_gpus_check(request: PreflightRequest, cards: list[str]) -> HostCheck:
    """The host has as many GPUs as a model worker uses; one worker on the CPU needs none."""
    problem = (
        f"serving.num_gpus: {request.serving_gpus} GPUs for a model worker, but this host has "
        f"{len(cards)}: lower serving.num_gpus in the cluster file, or choose another serving.host"
    )
    suffices = request.serving_gpus <= len(cards) or (
        request.accelerator == "cpu" and request.serving_gpus == 1
    )
    return HostCheck(
        name="serving_gpus",
        value=str(len(cards)),
        limit=str(request.serving_gpus),
        problem=None if suffices else problem,
    )


def foreign_processes_check(request: PreflightRequest) -> HostCheck:
    """No foreign process uses the GPUs."""
    processes = foreign_processes(request.accelerator)
    problem = (
        f"foreign processes use its GPUs ({'; '.join(processes)}). They are left alone: "
        "wait until they end, or end them"
    )
    return HostCheck(
        name="gpu_processes", value=str(len(processes)), limit="0", problem=problem if processes else None
    )


def base_model_check(request: PreflightRequest, facts: MeasuredHost) -> HostCheck:
    """The base model is there."""
    problem = (
        f"the base model is missing: {Path(request.base_model).expanduser()} has no config.json; "
        "copy the model there, or correct base_model in the form or the recipe"
    )
    return HostCheck(
        name="base_model",
        value=facts.base_model_hash or "",
        problem=problem if facts.base_model_hash is None else None,
    )


if __name__ == "__main__":
    PREFLIGHT.main(check)
