"""XML-RPC to supervisor over its Unix socket."""

from __future__ import annotations

import http.client
import socket
import xmlrpc.client
from typing import Any

ERRORS = (OSError, xmlrpc.client.Error, http.client.HTTPException)
"""What a call raises when supervisor is down, or refuses it."""


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost")
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self._path)


class _UnixTransport(xmlrpc.client.Transport):
    def __init__(self, path: str) -> None:
        super().__init__()
        self._path = path

    def make_connection(self, host: object) -> http.client.HTTPConnection:
        return _UnixConnection(self._path)


def supervisor_at(path: str) -> Any:
    """The XML-RPC interface of supervisor, such as `getState()` and `startProcess(name)`.

    Args:
        path: supervisor's Unix socket.
    """
    return xmlrpc.client.ServerProxy("http://localhost", transport=_UnixTransport(path)).supervisor


def is_running(path: str) -> bool:
    """Whether the supervisor at a Unix socket answers."""
    try:
        return bool(supervisor_at(path).getState()["statename"] == "RUNNING")
    except ERRORS:
        return False
