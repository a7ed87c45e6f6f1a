"""Part `machine`: the cards, the driver and the versions."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import subprocess
from pathlib import Path
from typing import Any

import torch

from bench.gpu.work import Work

PACKAGES = ("bitsandbytes", "deepspeed", "fschat", "mmengine", "peft", "transformers", "xtuner")


def measure(work: Work, _: str) -> dict[str, Any]:
    """Cards as PyTorch sees them; None for what this machine does not have."""
    return {
        "cards": [] if work.on_cpu else cards(),
        "driver": driver(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "rocm": torch.version.hip,
        "nccl": ".".join(map(str, torch.cuda.nccl.version())) if torch.cuda.is_available() else None,
        "python": platform.python_version(),
        "system": platform.platform(),
        "cpus": len(os.sched_getaffinity(0)),
        "packages": {name: version(name) for name in PACKAGES},
    }


def cards() -> list[dict[str, Any]]:
    found = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
    return [
        {
            "name": card.name,
            "memory_gib": round(card.total_memory / 1024**3, 1),
            "capability": f"{card.major}.{card.minor}",
        }
        for card in found
    ]


def driver() -> str | None:
    """Version of NVIDIA's or AMD's driver."""
    if shutil.which("nvidia-smi"):
        command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
        answer = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
        if not answer.returncode:
            return answer.stdout.splitlines()[0].strip()
    modules = (Path("/sys/module", name, "version") for name in ("nvidia", "amdgpu"))
    return next((file.read_text().strip() for file in modules if file.exists()), None)


def version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
