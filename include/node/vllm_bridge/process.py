"""vLLM's server as a child process that does not outlive the worker."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping
from pathlib import Path


class VllmProcess:
    """A command, and the guard that ends it together with this process.

    Args:
        command: Makes the command line of the path of the Unix socket to listen on.
        environment: Its environment variables.
    """

    def __init__(self, command: Callable[[str], list[str]], environment: Mapping[str, str]) -> None:
        # Readable by this user only. In /tmp, because the path of a Unix socket may have 107 bytes.
        self._folder = tempfile.mkdtemp(prefix="sqltune-vllm-", dir="/tmp")
        self.socket = f"{self._folder}/socket"
        self._is_stopping = False
        guard = Path(__file__).with_name("guard.py")
        self._guard = subprocess.Popen(
            [sys.executable, str(guard), self._folder, *command(self.socket)],
            env=environment,
            stdin=subprocess.PIPE,
            start_new_session=True,
        )

    def has_ended(self) -> bool:
        """Whether it ended, or its guard."""
        return self._guard.poll() is not None

    def on_end(self, call: Callable[[], None]) -> None:
        """Call a function, in a thread, once it has ended by itself."""

        def wait() -> None:
            self._guard.wait()
            if not self._is_stopping:
                call()

        threading.Thread(target=wait, name="vllm", daemon=True).start()

    def stop(self) -> None:
        """End it with all its processes, and wait for that."""
        self._is_stopping = True
        if self._guard.stdin:
            self._guard.stdin.close()
        self._guard.wait()
        # As the guard does, which may have been killed itself.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._guard.pid, signal.SIGKILL)
        shutil.rmtree(self._folder, ignore_errors=True)
