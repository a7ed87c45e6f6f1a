"""What to do about failures that are known, by what they leave in a reason or a log."""

from __future__ import annotations

import re

from sqltune.ui.gang_contracts import Remedy

# What the reason says for certain comes first. Of what a log suggests, causes come before consequences:
# a rank that runs out of memory is killed, and breaks the others' connections.
_SIGNS: dict[Remedy, str] = {
    "limit_queue": r"\(limit queue\)",
    "limit_prepare": r"\(limit prepare\)",
    "limit_rendezvous": r"\(limit rendezvous\)",
    "limit_first_step": r"\(limit first_step\)",
    "limit_stall": r"\(limit stall\)",
    "limit_total": r"\(limit total\)",
    "limit_unreachable": r"\(limit unreachable\)",
    "not_finite": r"is NaN or infinite",
    "disk": r"its disk is full|No space left on device",
    "gpu_memory": r"(CUDA|HIP) out of memory|OutOfMemoryError",
    "gpu_lost": r"fallen off the bus|Unable to determine the device handle|no CUDA-capable device",
    "port": r"[Aa]ddress already in use|port \d+ is taken",
    "package": r"ModuleNotFoundError|ImportError|command not found",
    "host_lost": r"the host was restarted|its wrapper is gone|its folder is gone",
    "host_memory": r"killed by signal 9|\bKilled\b|Cannot allocate memory",
    "network": r"NCCL WARN|ncclSystemError|ncclRemoteError|[Cc]onnection (reset|closed|refused)",
}


def remedy(*texts: str) -> Remedy | None:
    """Return what to do about a failure, or None where it is not a known one.

    Args:
        texts: The reason, the first errors, the last lines of the log.
    """
    text = "\n".join(texts)
    return next((known for known, pattern in _SIGNS.items() if re.search(pattern, text)), None)
