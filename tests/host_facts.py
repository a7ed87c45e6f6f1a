"""What preflight measures on a good host, for tests that need it."""

from __future__ import annotations

import time
from typing import Any

from sqltune.contracts import HostFacts
from sqltune.node_contracts.preflight import MeasuredHost


def measured(**more: Any) -> MeasuredHost:
    return MeasuredHost(
        hostname="h",
        python="3.11.9",
        versions={"torch": "2.13.0"},
        cpus=2,
        gpus=[],
        free_disk_gb=100,
        free_memory_gb=10,
        clock=time.time(),
        proxy={},
        address="10.0.0.1",
        base_model_hash="same",
    ).model_copy(update=more)


def facts(host: str, **more: Any) -> dict[str, Any]:
    address = f"10.0.0.{2 if host == 'host-b' else 1}"
    return HostFacts(**(measured().model_dump() | {"host": host, "address": address} | more)).model_dump()
