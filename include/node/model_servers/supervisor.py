"""Starts and stops supervisor, and applies changes of its configuration."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import xmlrpc.client
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from supervisor.xmlrpc import Faults

from marks import GANG, SERVING
from model_servers.configuration import Layout
from model_servers.processes import wait_until_gone
from sqltune.node_contracts.api_keys import VARIABLE
from supervisor_rpc import ERRORS, call, is_running

SHUTDOWN_TIMEOUT = 60
"""Seconds until supervisor has stopped all programs and itself."""
_UP = ("RUNNING", "STARTING", "BACKOFF")


class Supervisor:
    """The supervisor of a host's model servers.

    Args:
        layout: Its socket and files.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def _call(self, method: str, *arguments: object) -> Any:
        return call(self._layout.socket, method, *arguments)

    def running(self) -> bool:
        """Whether it answers."""
        return is_running(self._layout.socket)

    def launch(self) -> None:
        """Start it with the configuration; no program is started."""
        Path(self._layout.socket).unlink(missing_ok=True)
        # Without a gang's marker, or the served processes would look like the gang's own. With the marker of
        # model servers, so that a search for foreign processes on the GPUs recognises the served model.
        # LOGDIR: FastChat would write logs to the working directory; supervisor keeps what it prints.
        # Without the users' API keys, of which the door needs the hashes alone.
        environment = {k: v for k, v in os.environ.items() if k not in (GANG, VARIABLE)}
        subprocess.run(
            [sys.executable, "-m", "supervisor.supervisord", "-c", self._layout.configuration_file],
            check=True,
            env=environment | {SERVING: "1", "LOGDIR": ""},
            cwd=self._layout.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
        )

    def reload(self, first: str) -> None:
        """Stop programs whose configuration is gone or changed, and add those that are new.

        Args:
            first: Program that runs before a changed one is stopped, unless it is changed itself. Exits when
                it does not. What is only gone is stopped in any case.
        """
        added, changed, removed = self._call("reloadConfig")[0]
        for name in added:
            self._call("addProcessGroup", name)
        # Not only where it is new: a reload that was refused has added it.
        if changed and first not in changed:
            self._require_running(first)
        # In alphabetical order: the API ends its requests before the controller and the workers that it asks.
        for name in sorted([*removed, *changed]):
            self._call("stopProcessGroup", name)
            self._call("removeProcessGroup", name)
        for name in changed:
            self._call("addProcessGroup", name)

    def _require_running(self, program: str) -> None:
        """Start a program; exits when it ends within its `startsecs`."""
        self.start(program)
        while (state := self._call("getProcessInfo", program)["statename"]) == "STARTING":
            time.sleep(0.05)
        if state != "RUNNING":
            sys.exit(
                f"{program} ends as soon as it is started: read {self._layout.log_file(program)}; what is "
                "served now was left as it is"
            )

    def start(self, program: str) -> None:
        """Start a program that is not up."""
        if self._call("getProcessInfo", program)["statename"] in _UP:
            return
        try:
            self._call("startProcess", program, False)
        except xmlrpc.client.Fault as e:
            # It had ended when supervisor looked at it first, and is started again: its state tells the rest.
            if e.faultCode != Faults.SPAWN_ERROR:
                raise

    def dead(self, programs: Iterable[str]) -> tuple[str, str] | None:
        """A program that supervisor gave up on, and the reason; None when all programs run."""
        names = set(programs)
        try:
            states = self._call("getAllProcessInfo")
        except ERRORS:
            return None
        for state in states:
            if state["name"] in names and state["statename"] == "FATAL":
                return state["name"], state["spawnerr"] or state["description"]
        return None

    def shut_down(self) -> None:
        """Stop all programs and supervisor itself; exits with a message when it does not end."""
        pid = self._call("getPID")
        self._call("shutdown")
        # Its socket disappears before its process does.
        if not wait_until_gone(pid, SHUTDOWN_TIMEOUT):
            sys.exit(
                f"supervisor (pid {pid}) did not end within {SHUTDOWN_TIMEOUT} s of its shutdown: "
                f"read {self._layout.folder}/supervisord.log"
            )
