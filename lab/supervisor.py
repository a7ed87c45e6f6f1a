"""supervisor's interface: start programs and read their states."""

from __future__ import annotations

import http.client
import socket
import subprocess
import xmlrpc.client
from pathlib import Path

from lab.settings import CONTROL, LOGS, ROOT, RUN


class _UnixTransport(xmlrpc.client.Transport):
    def make_connection(self, host: object) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection("localhost")

        def connect() -> None:
            connection.sock = socket.socket(socket.AF_UNIX)
            connection.sock.connect(str(RUN / "supervisor.sock"))

        connection.connect = connect  # type: ignore[method-assign]
        return connection


def supervisor() -> xmlrpc.client.ServerProxy:
    """supervisor's own interface."""
    return xmlrpc.client.ServerProxy("http://localhost", transport=_UnixTransport()).supervisor  # type: ignore[return-value]


def is_running() -> bool:
    """Whether this lab's supervisor answers."""
    try:
        return supervisor().getState()["statename"] == "RUNNING"  # type: ignore[operator,index]
    except (OSError, xmlrpc.client.Error, http.client.HTTPException):
        return False


def start_supervisor(config: Path) -> None:
    """supervisor, with nothing started yet."""
    if is_running():
        return
    (RUN / "supervisor.sock").unlink(missing_ok=True)
    subprocess.run(
        [CONTROL / "bin/supervisord", "-c", config],
        check=True,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
    )


def renew(name: str) -> None:
    """End a program whose configuration is another one than it was started with; it is started with that."""
    if name in supervisor().reloadConfig()[0][1]:  # type: ignore[operator,index]
        supervisor().stopProcessGroup(name)  # type: ignore[operator]
        supervisor().removeProcessGroup(name)  # type: ignore[operator]
        supervisor().addProcessGroup(name)  # type: ignore[operator]


def start(*names: str) -> None:
    """Start programs that are not running; exits with the log's end of one that does not stay up."""
    for name in names:
        if supervisor().getProcessInfo(name)["statename"] in ("RUNNING", "STARTING"):  # type: ignore[operator,index]
            continue
        try:
            supervisor().startProcess(name)  # type: ignore[operator]
        except xmlrpc.client.Fault as e:
            log = LOGS / f"{name}.log"
            words = log.read_text(errors="replace").splitlines()[-20:] if log.exists() else []
            raise SystemExit(
                "\n".join([*words, f"{name} does not start ({e.faultString}); its log is {log}"])
            ) from None
