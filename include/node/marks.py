"""Variables by which the project recognises its own processes on a host."""

from __future__ import annotations

from pathlib import Path

GANG = "SSH_GANG_MARKER"
"""In the environment of every process of a gang; `ssh_gang` is not on the hosts, so it is repeated here."""
SERVING = "SQLTUNE_SERVING"
"""In the environment of every process that serves a model."""


def has_mark(process: Path, *names: str) -> bool:
    """Whether one of the variables is set in the environment of a process.

    Args:
        process: Its folder in /proc.
        names: Variables.

    Raises:
        OSError: The process has ended, or belongs to another user.
    """
    assignments = (process / "environ").read_bytes().split(b"\0")
    return any(a.startswith(f"{name}=".encode()) for a in assignments for name in names)
