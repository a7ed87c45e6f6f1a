"""python guard.py FOLDER COMMAND …: run a command for as long as standard input is open.

Standard input is a pipe from the worker, which ends with it, also when it is killed. The guard leads a
process group of its own, and ends all of it: vLLM has processes for its engine and for each GPU, which hold
the GPUs' memory. Then it removes the folder.

Standard library only, and no import of a neighbour.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import subprocess
import sys

GRACE = 5
"""Seconds between SIGTERM and SIGKILL."""


def main(folder: str, command: list[str]) -> None:
    """Run the command; does not return."""
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    # After the child, which would inherit it.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    select.select([sys.stdin, os.pidfd_open(child.pid)], [], [])
    if child.poll() is not None:
        print(f"{command[0]} ended with exit status {child.returncode}", file=sys.stderr, flush=True)
    os.killpg(0, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(GRACE)
    shutil.rmtree(folder, ignore_errors=True)
    # With the guard itself.
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
