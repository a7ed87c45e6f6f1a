"""TCP ports of this host."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Collection

from proc_net import ESTABLISHED, inodes


def listen_error(bind: str, port: int) -> str | None:
    """Why no server can listen on a port; None when one can."""
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            s.bind((bind, port))
        except OSError as e:
            return e.strerror
    return None


def free_port(bind: str, first: int, last: int, taken: Collection[int]) -> int | None:
    """The first port of a range that is neither taken nor in use; None when none is left."""
    ports = (p for p in range(first, last + 1) if p not in taken and listen_error(bind, p) is None)
    return next(ports, None)


def wait_for_listener(bind: str, port: int, seconds: float, on_timeout: Callable[[], None]) -> None:
    """Wait until a server listens; after `seconds` call `on_timeout`, which must not return."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection((bind, port), 1).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                on_timeout()
            time.sleep(0.1)


def open_connections(port: int) -> int:
    """Number of TCP connections that are open to a port of this host."""
    return len(inodes(port, ESTABLISHED))
