"""XML-RPC to supervisor over its Unix socket."""

from __future__ import annotations

import http.client
import xmlrpc.client
from typing import Any

from supervisor.xmlrpc import SupervisorTransport

ERRORS = (OSError, xmlrpc.client.Error, http.client.HTTPException)
"""What a call raises when supervisor is down, or refuses it."""


def supervisor_at(path: str) -> Any:
    """The XML-RPC interface of supervisor, such as `getState()` and `startProcess(name)`.

    Args:
        path: The Unix socket of supervisor.
    """
    transport = SupervisorTransport(serverurl=f"unix://{path}")
    return xmlrpc.client.ServerProxy("http://localhost", transport=transport).supervisor


def is_running(path: str) -> bool:
    """Whether the supervisor at a Unix socket answers."""
    try:
        return bool(supervisor_at(path).getState()["statename"] == "RUNNING")
    except ERRORS:
        return False
