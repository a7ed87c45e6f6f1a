"""Serves the front door (`door`) at the public address of a host's models.

    python front_door.py FOLDER API_SOCKET BIND PORT

Needs the node environment, and the folder `door` beside it.
"""

from __future__ import annotations

import errno
import socket
import sys
import time
from functools import partial
from pathlib import Path

import uvicorn

from door.app import Door

BACKLOG = 2048
"""Connections that wait to be accepted."""
PORT_TIMEOUT = 120
"""Seconds to wait for the port: until an upgrade, FastChat's API itself listened there, and while it stops it
answers what it has begun."""


def listener(bind: str, port: int) -> socket.socket:
    """Listen on an address; waits while another process does.

    Raises:
        OSError: The address is not of this host, or is in use after `PORT_TIMEOUT` seconds.
    """
    give_up = time.monotonic() + PORT_TIMEOUT
    while True:
        try:
            return socket.create_server((bind, port), backlog=BACKLOG)
        except OSError as e:
            if e.errno != errno.EADDRINUSE or time.monotonic() > give_up:
                raise
        time.sleep(0.02)


def serve(folder: Path, api_socket: str, bind: str, port: int) -> None:
    """Serve until SIGTERM; requests that are being answered are answered first."""
    # supervisor keeps what is printed.
    door = Door(folder, api_socket, log=partial(print, flush=True))
    config = uvicorn.Config(door.app(), log_level="warning", access_log=False, server_header=False)
    uvicorn.Server(config).run(sockets=[listener(bind, port)])


if __name__ == "__main__":
    serve(Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4]))
