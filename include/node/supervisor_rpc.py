"""XML-RPC to supervisor over its Unix socket."""

from __future__ import annotations

import http.client
import xmlrpc.client
from typing import Any

from supervisor.xmlrpc import SupervisorTransport

ERRORS = (OSError, xmlrpc.client.Error, http.client.HTTPException)
"""What a call raises when supervisor is down, or refuses it."""


def call(path: str, method: str, *arguments: object) -> Any:
    """Call a method of supervisor, and close the connection.

    Args:
        path: The Unix socket of supervisor.
        method: Name of the method, such as `getState`.
        arguments: Its arguments.
    """
    transport = SupervisorTransport(serverurl=f"unix://{path}")
    with xmlrpc.client.ServerProxy("http://localhost", transport=transport) as proxy:
        return getattr(proxy.supervisor, method)(*arguments)


def is_running(path: str) -> bool:
    """Whether the supervisor at a Unix socket answers."""
    try:
        return bool(call(path, "getState")["statename"] == "RUNNING")
    except ERRORS:
        return False
