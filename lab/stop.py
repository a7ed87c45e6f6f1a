"""Stop the lab, and check that no process is left."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from include.node.proc_net import LISTEN, inodes
from lab import network, settings
from lab.airflow_settings import mark
from lab.settings import LAB, LOGS, ROOT, Settings
from lab.supervisor import call, is_running


def stop_all(s: Settings) -> None:
    """Stop everything, and wait until nothing is left.

    Raises:
        SystemExit: supervisor or a process of the lab does not end.
    """
    if is_running():
        pid = int(call("getPID"))
        call("shutdown")
        # supervisor removes its socket before it ends.
        _wait(lambda: not _is_alive(pid), 90, f"supervisor does not end; its log is {LOGS}/supervisord.log")
    _kill_left_over()
    network.remove_network(s)


def _wait(condition: Callable[[], bool], seconds: float, problem: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit(problem)
        time.sleep(0.2)


def _kill_left_over() -> None:
    # A process with a model in memory takes a moment to die.
    deadline = time.monotonic() + 30
    while left := left_over():
        if time.monotonic() > deadline:
            raise SystemExit(f"these processes of the lab do not end: {', '.join(map(str, left))}")
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.1)


def _is_alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def left_over() -> list[int]:
    """Ids of the processes that carry this lab's mark, or whose home is on one of its hosts."""
    marks = [f"{name}={value}\0".encode() for name, value in mark().items()]
    marks.append(f"HOME={LAB}/hosts/".encode())
    this = {os.getpid(), os.getppid()}
    processes = [p for p in Path("/proc").iterdir() if p.name.isdigit() and int(p.name) not in this]
    return [int(p.name) for p in processes if _is_ours(p, marks)]


def _is_ours(process: Path, marks: list[bytes]) -> bool:
    try:
        environment = (process / "environ").read_bytes()
    except OSError:
        return False
    return any(m in environment for m in marks) or _is_log_server(process)


def _is_log_server(process: Path) -> bool:
    """Whether a process is Airflow's log server on one of this lab's ports.

    It writes its title over its environment, so it carries no mark, and it outlives a component that is
    killed with SIGKILL.
    """
    s = settings.load()
    try:
        return (
            s is not None
            and (process / "cmdline").read_bytes().startswith(b"airflow serve-logs")
            and (process / "cwd").readlink() == ROOT
            and not _listening_sockets((s.log_port, s.trigger_log_port)).isdisjoint(
                str(descriptor.readlink()) for descriptor in (process / "fd").iterdir()
            )
        )
    except OSError:
        return False


def _listening_sockets(ports: tuple[int, ...]) -> set[str]:
    """The sockets that listen on these ports, as a link in /proc/PID/fd names them."""
    return {f"socket:[{inode}]" for port in ports for inode in inodes(port, LISTEN)}
