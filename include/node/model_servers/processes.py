"""Processes of the model servers that outlive their supervisor."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

from marks import SERVING, has_mark


def wait_until_gone(pid: int, seconds: float) -> bool:
    """Whether a process ended within this time; a zombie has ended."""
    deadline = time.monotonic() + seconds
    stat = Path(f"/proc/{pid}/stat")
    with contextlib.suppress(OSError):
        while stat.read_text().rpartition(")")[2].split()[0] != "Z":
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
    return True


def end_orphans(folder: Path) -> None:
    """End model servers that outlived their supervisor, which was killed or ran out of memory.

    They hold the ports, and no supervisor would restart them. They are recognised by their working directory.
    """
    for process in Path("/proc").glob("[0-9]*"):
        # A process may end, or belong to another user.
        with contextlib.suppress(OSError):
            if _serves_from(process, folder.resolve()):
                print(f"ending pid {process.name}, which its supervisor left behind", flush=True)
                os.kill(int(process.name), signal.SIGKILL)
                wait_until_gone(int(process.name), 10)


def _serves_from(process: Path, folder: Path) -> bool:
    return (
        (process / "cwd").readlink() == folder
        and has_mark(process, SERVING)
        and int(process.name) != os.getpid()
    )
