"""The scripts of the hosts import each other by bare names."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import BASE, ROOT

sys.path.insert(0, str(ROOT / "include/node"))


@pytest.fixture
def server() -> Iterator[socket.socket]:
    """A socket that listens on a free port of loopback."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


@pytest.fixture(scope="session")
def vllm_python() -> Path:
    """Interpreter of vLLM's environment, or a skip with how to make it."""
    python = BASE / "vllm-env" / "bin" / "python"
    if not python.exists():
        pytest.skip(f"vLLM is not here: bash include/node/bootstrap.sh --vllm {BASE / 'node-env'}")
    return python
