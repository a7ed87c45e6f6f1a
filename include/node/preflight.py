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

try:
    from sqltune.node_contracts.preflight import (
        PREFLIGHT,
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
    """Facts about this host, and every problem that would make the run fail here."""
    work_dir = Path(request.work_dir).expanduser()
    work_dir.mkdir(parents=True, exist_ok=True)
    cards, gpu_problem = ([], None) if request.accelerator == "cpu" else gpus(request.accelerator)
    facts = measure(request, work_dir, cards)
    problems = [
        *ownership_problems(request, work_dir),
        *environment_problems(facts),
        *capacity_problems(request, facts, work_dir),
        *network_problems(request, facts),
        *([gpu_problem] if gpu_problem else gpu_count_problems(request, cards)),
        *foreign_process_problems(request),
        *model_problems(request, facts),
    ]
    return PreflightResponse(facts=facts, problems=problems)


def measure(request: PreflightRequest, work_dir: Path, cards: list[str]) -> MeasuredHost:
    """Measure what the checks compare."""
    model = Path(request.base_model).expanduser()
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
        base_model_hash=folder_hash(model) if (model / "config.json").is_file() else None,
    )


def ownership_problems(request: PreflightRequest, work_dir: Path) -> Iterator[str]:
    """The work folder belongs to this Airflow: two of them would remove one another's models."""
    installation = owner(work_dir, request.installation)
    if installation != request.installation:
        yield (
            f"{work_dir} belongs to another Airflow (installation {installation}, this one is "
            f"{request.installation}), and each would remove the other's models: set work_dir in the "
            "cluster file to a folder of its own; if the other installation is gone for good, remove "
            f"{work_dir / MARK}"
        )


def environment_problems(facts: MeasuredHost) -> Iterator[str]:
    """The node environment is complete."""
    missing = [name for name, version in facts.versions.items() if version is None]
    if missing:
        yield (
            f"{', '.join(missing)} not installed in {sys.prefix}: run include/node/bootstrap.sh on the host"
        )


def capacity_problems(request: PreflightRequest, facts: MeasuredHost, work_dir: Path) -> Iterator[str]:
    """Disk and memory suffice."""
    if facts.free_disk_gb < request.min_free_disk_gb:
        yield (
            f"{facts.free_disk_gb} GiB are free under {work_dir}, {request.min_free_disk_gb} are required: "
            "delete old runs there, or lower min_free_disk_gb"
        )
    if facts.free_memory_gb < request.min_free_memory_gb:
        yield (
            f"{facts.free_memory_gb} GiB of memory are available, {request.min_free_memory_gb} are required: "
            "stop other processes there, or lower min_free_memory_gb"
        )


def network_problems(request: PreflightRequest, facts: MeasuredHost) -> Iterator[str]:
    """The interface has an address, and the master's port is free."""
    if facts.address is None:
        yield (
            f"no interface {request.interface!r} with an IPv4 address (interfaces: {interfaces()}): "
            "set interface in the cluster file"
        )
    process = listener(request.master_port) if request.is_master else None
    if process:
        yield (
            f"port {request.master_port} is in use ({process}): stop that process, "
            "or set master_port in the cluster file"
        )


def gpu_count_problems(request: PreflightRequest, cards: list[str]) -> Iterator[str]:
    """The host has a GPU for each rank, and as many as a model worker uses."""
    if request.accelerator != "cpu" and len(cards) < request.processes:
        yield (
            f"{len(cards)} GPUs, {request.processes} are required: correct processes in the cluster file, "
            "or look in dmesg for a card that dropped out"
        )
    # One worker on the CPU needs no card.
    if request.serving_gpus > len(cards) and (request.accelerator != "cpu" or request.serving_gpus > 1):
        yield (
            f"serving.num_gpus: {request.serving_gpus} GPUs for a model worker, but this host has "
            f"{len(cards)}: lower serving.num_gpus in the cluster file, or choose another serving.host"
        )


def foreign_process_problems(request: PreflightRequest) -> Iterator[str]:
    """No foreign process uses the GPUs."""
    processes = [] if request.accelerator == "cpu" else foreign_processes(request.accelerator)
    if processes:
        yield (
            f"foreign processes use its GPUs ({'; '.join(processes)}). They are left alone: "
            "wait until they end, or end them"
        )


def model_problems(request: PreflightRequest, facts: MeasuredHost) -> Iterator[str]:
    """The base model is there."""
    if facts.base_model_hash is None:
        yield (
            f"the base model is missing: {Path(request.base_model).expanduser()} has no config.json; "
            "copy the model there, or correct base_model in the form or the recipe"
        )


if __name__ == "__main__":
    PREFLIGHT.main(check)
