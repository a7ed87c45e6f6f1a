"""supervisor keeps the lab's processes up: start it, start its programs, read their states."""

from __future__ import annotations

import subprocess
import xmlrpc.client
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from include.node import supervisor_rpc
from lab.settings import CONTROL, LOGS, ROOT, RUN

SOCKET = RUN / "supervisor.sock"


@dataclass(frozen=True)
class Program:
    """A program's state.

    Attributes:
        name: Its name in supervisord.conf.
        state: supervisor's name of the state, such as RUNNING.
        description: pid and uptime, or why it does not run.
    """

    name: str
    state: str
    description: str


def call(method: str, *arguments: object) -> Any:
    """Call a method of supervisor's interface, such as `getPID`.

    Raises:
        OSError: no supervisor listens.
        xmlrpc.client.Fault: supervisor refused; `faultString` says why.
    """
    return supervisor_rpc.call(str(SOCKET), method, *arguments)


def is_running() -> bool:
    """Whether this lab's supervisor answers."""
    return supervisor_rpc.is_running(str(SOCKET))


def _program(info: Mapping[str, str]) -> Program:
    return Program(info["name"], info["statename"], info["description"])


def programs() -> list[Program]:
    """Every program's state."""
    return [_program(info) for info in call("getAllProcessInfo")]


def program(name: str) -> Program:
    """One program's state."""
    return _program(call("getProcessInfo", name))


def start_supervisor(config: Path) -> None:
    """Start supervisor without any program, unless it runs."""
    if is_running():
        return
    SOCKET.unlink(missing_ok=True)
    subprocess.run(
        [CONTROL / "bin/supervisord", "-c", config],
        check=True,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
    )


def renew(name: str) -> None:
    """Stop a program whose configuration has changed since its start, so that it starts with the new one."""
    _, changed, _ = call("reloadConfig")[0]
    if name in changed:
        for method in ("stopProcessGroup", "removeProcessGroup", "addProcessGroup"):
            call(method, name)


def start(*names: str) -> None:
    """Start programs that are not running.

    Raises:
        SystemExit: one does not stay up; the message holds the end of its log.
    """
    for name in names:
        if program(name).state in ("RUNNING", "STARTING"):
            continue
        try:
            call("startProcess", name)
        except xmlrpc.client.Fault as e:
            log = LOGS / f"{name}.log"
            tail = log.read_text(errors="replace").splitlines()[-20:] if log.exists() else []
            problem = f"{name} does not start ({e.faultString}); its log is {log}"
            raise SystemExit("\n".join([*tail, problem])) from None
