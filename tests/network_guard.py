"""Tests reach loopback and the lab's own network only: a connection to any other address fails the test."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterator
from typing import Any

import pytest

LAB_NETWORK = ipaddress.ip_network("10.213.0.0/16")
"""The lab's hosts: network namespaces of this machine."""


def is_allowed(kind: int, family: int, address: Any) -> bool:
    """Whether a socket may connect to an address. Only TCP is restricted: connecting UDP sends nothing."""
    if family not in (socket.AF_INET, socket.AF_INET6) or not kind & socket.SOCK_STREAM:
        return True
    host = str(address[0])
    if host == "localhost":
        return True
    try:
        ip = ipaddress.ip_address(host)
    except ValueError:
        return False
    return ip.is_loopback or ip in LAB_NETWORK


@pytest.fixture(autouse=True)
def only_local_connections(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Refuse connections of this process to other machines, and fail the test even if the code hides it."""
    refused: list[str] = []

    def guarded(method: Any) -> Any:
        def connect(self: socket.socket, address: Any) -> Any:
            if not is_allowed(self.type, self.family, address):
                refused.append(str(address))
                raise ConnectionRefusedError(f"tests may not connect to {address}")
            return method(self, address)

        return connect

    for name in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, name, guarded(getattr(socket.socket, name)))
    yield
    if refused:
        pytest.fail(f"the test connected to {', '.join(refused)}: use a local server", pytrace=False)
