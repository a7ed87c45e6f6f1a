"""The check of the master's port."""

from __future__ import annotations

import os
import subprocess
import sys

from host_checks.ports import listener
from marks import GANG
from tests.conftest import free_port


def test_a_port_without_a_listener_has_no_process():
    assert listener(free_port()) is None


def test_a_listener_is_named_with_its_pid(server):
    assert str(listener(server.getsockname()[1])).endswith(f", pid {os.getpid()}")


def test_a_listener_of_a_gang_is_not_named():
    """Gangs wait for one another."""
    code = """
import socket
server = socket.create_server(("127.0.0.1", 0))
print(server.getsockname()[1], flush=True)
input()
"""
    with subprocess.Popen(
        [sys.executable, "-c", code],
        env=os.environ | {GANG: "g"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        assert listener(port) is None
        process.communicate("\n")
