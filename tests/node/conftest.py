"""The scripts of the hosts import each other by bare names."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator

import pytest

from tests.conftest import ROOT

sys.path.insert(0, str(ROOT / "include/node"))


@pytest.fixture
def server() -> Iterator[socket.socket]:
    """A socket that listens on a free port of loopback."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server
