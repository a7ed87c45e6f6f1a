"""Stop the lab, and check that no process is left."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

from lab import network, settings
from lab.settings import LAB, LOGS, ROOT, Settings
from lab.supervisor import is_running, supervisor


def stop_all(s: Settings) -> None:
    """End everything, and look until nothing is left."""
    if is_running():
        pid = supervisor().getPID()  # type: ignore[operator]
        supervisor().shutdown()  # type: ignore[operator]
        deadline = time.monotonic() + 90
        # Its socket goes before it does.
        while _is_alive(pid):
            if time.monotonic() > deadline:
                raise SystemExit(f"supervisor does not end; look at {LOGS}/supervisord.log")
            time.sleep(0.2)
    # A process with a model in memory takes a moment to die.
    deadline = time.monotonic() + 30
    while left := left_over():
        if time.monotonic() > deadline:
            raise SystemExit(f"these processes of the lab do not end: {', '.join(map(str, left))}")
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.1)
    network.remove_network(s)


def _is_alive(pid: object) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def left_over() -> list[int]:
    """Processes with this lab's mark, or with a home on one of its hosts; none when all is down."""
    marks = (f"SQLTUNE_LAB_MARK={LAB}\0".encode(), f"HOME={LAB}/hosts/".encode())
    found = []
    mine = {os.getpid(), os.getppid()}
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit() or int(folder.name) in mine:
            continue
        try:
            text = (folder / "environ").read_bytes()
        except OSError:
            continue
        if any(mark in text for mark in marks) or _is_our_log_server(folder):
            found.append(int(folder.name))
    return found


def _is_our_log_server(process: Path) -> bool:
    """Whether a process is Airflow's log server on one of this lab's ports: it writes its title over its environment, and outlives a component that is SIGKILLed."""
    s = settings.load()
    try:
        if (
            s is None
            or not (process / "cmdline").read_bytes().startswith(b"airflow serve-logs")
            or (process / "cwd").readlink() != ROOT
        ):
            return False
        sockets = {os.readlink(fd) for fd in (process / "fd").iterdir()}
    except OSError:
        return False
    ours = {f":{port:04X}" for port in (s.log_port, s.trigger_log_port)}
    listening = [
        line.split()
        for table in ("tcp", "tcp6")
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]
    ]
    return any(
        fields[3] == "0A" and fields[1][-5:] in ours and f"socket:[{fields[9]}]" in sockets
        for fields in listening
    )
