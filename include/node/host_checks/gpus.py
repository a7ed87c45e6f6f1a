"""The GPUs of this host, and the processes that use them."""

from __future__ import annotations

import subprocess
from pathlib import Path

from marks import GANG, SERVING, has_mark

TIMEOUT = 30
"""Seconds until nvidia-smi or rocm-smi must have answered; a hanging driver never does."""
_LIST = {
    "cuda": ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader"],
    "rocm": ["rocm-smi", "--showproductname", "--csv"],
}
_PROCESSES = {
    "cuda": ["nvidia-smi", "--query-compute-apps=pid,process_name,used_memory", "--format=csv,noheader"],
    "rocm": ["rocm-smi", "--showpids"],
}


def gpus(accelerator: str) -> tuple[list[str], str | None]:
    """List the GPUs with nvidia-smi or rocm-smi.

    Returns:
        One line for each GPU, and the problem that prevented a listing, if any.
    """
    command = _LIST[accelerator]
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT)
    except FileNotFoundError:
        return (
            [],
            f"{command[0]} is not installed: install the driver, or set accelerator in the cluster file",
        )
    except subprocess.TimeoutExpired:
        return (
            [],
            f"{command[0]} did not answer within {TIMEOUT} s: the driver hangs; "
            "reset the GPUs or restart the host",
        )
    if result.returncode:
        return [], f"{command[0]} failed: {(result.stderr or result.stdout).strip()[-300:]}"
    lines = [line.strip() for line in result.stdout.splitlines() if line.strip()]
    return (lines if accelerator == "cuda" else [line for line in lines if line.startswith("card")]), None


def foreign_processes(accelerator: str) -> list[str]:
    """Processes on the GPUs that belong to neither a gang nor a model server of this project.

    They are reported, never ended.
    """
    try:
        output = subprocess.run(
            _PROCESSES[accelerator], capture_output=True, text=True, timeout=TIMEOUT
        ).stdout
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return []
    rows = [line.replace(",", " ").split() for line in output.splitlines()]
    return [
        " ".join(row)
        for row in rows
        if row and row[0].isdigit() and not _holds_nothing(accelerator, row) and not _is_ours(row[0])
    ]


def _holds_nothing(accelerator: str, row: list[str]) -> bool:
    # rocm-smi also lists processes that once opened /dev/kfd and hold no GPU.
    return accelerator == "rocm" and row[3:4] == ["0"]


def _is_ours(pid: str) -> bool:
    try:
        return has_mark(Path(f"/proc/{pid}"), GANG, SERVING)
    except OSError:
        return False
