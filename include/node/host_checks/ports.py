"""What listens on a TCP port of this host."""

from __future__ import annotations

from pathlib import Path

from marks import GANG, has_mark
from proc_net import LISTEN, inodes


def listener(port: int) -> str | None:
    """The process that listens on a TCP port of this host, for a message; None where none does.

    None as well where one of the project's gangs listens: gangs wait for one another.
    """
    sockets = {f"socket:[{inode}]" for inode in inodes(port, LISTEN)}
    if not sockets:
        return None
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if sockets.isdisjoint(str(fd.readlink()) for fd in (process / "fd").iterdir()):
                continue
            if has_mark(process, GANG):
                return None
            return f"{(process / 'comm').read_text().strip()}, pid {process.name}"
        except OSError:
            continue
    return "another user's process"
