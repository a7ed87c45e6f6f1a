"""Requirements on the machine, checked before the long work; how setup runs a step. Standard library only."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from lab.paths import BASE, NODE

REQUIRED_GIB = 10
"""Disk space that the environments and base models take."""
REQUIRED_PROGRAMS = {"g++": "g++", "ssh-keygen": "openssh-client", "make": "make"}
"""Programs, and the Debian package that brings each."""


def report(text: str) -> None:
    """Print one line of progress with the time of day, in place of a bar where there is one."""
    clear = "\r\033[K" if sys.stdout.isatty() else ""
    print(f"{clear}[{time.strftime('%H:%M:%S')}] {text}", flush=True)


def run(command: list[str], step: str, env: Mapping[str, str] | None = None, log: str = "setup") -> None:
    """Run one step, its output appended to a log in .lab/logs.

    Args:
        command: The command line.
        step: What the step does, for the error message.
        env: The environment; the caller's by default.
        log: Name of the log; steps that run at the same time have one each.

    Raises:
        SystemExit: the command failed; the message ends with the last lines of its output.
    """
    path = BASE / "logs" / f"{log}.log"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as f:
        f.write(f"\n$ {' '.join(command)}\n")
        f.flush()
        code = subprocess.run(
            command, stdout=f, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, env=env, check=False
        ).returncode
    if code:
        sys.exit(_failure(step, path))


def _failure(step: str, log: Path) -> str:
    """The end of the log, and a hint where it looks like a missing network."""
    tail = log.read_text(errors="replace").splitlines()[-25:]
    is_offline = any(
        "resolution" in line or "Connection" in line or "network" in line.lower() for line in tail
    )
    hint = "\nIs there a network? Packages come from the index that pip is configured for."
    return "\n".join(tail) + f"\n{step} failed; the whole output is in {log}{hint if is_offline else ''}"


def check_machine() -> None:
    """Check the machine's requirements before the long downloads start.

    Raises:
        SystemExit: something is missing; the message lists all of it with its remedy.
    """
    problems = [*_python_problems(), *_disk_problems()]
    for program, package in REQUIRED_PROGRAMS.items():
        if not shutil.which(program):
            problems.append(f"{program} is not installed: apt-get install {package}")
    if problems:
        sys.exit("\n".join(problems))


def _python_problems() -> Iterator[str]:
    if sys.version_info[:2] != (3, 11):
        yield (
            f"Python 3.11 is required, this is {sys.version.split()[0]}: install it "
            "(apt-get install python3.11 python3.11-venv), or make PYTHON=/path/to/python3.11"
        )
    if not find_spec("ensurepip") or not find_spec("venv"):
        yield "Python has no venv module: apt-get install python3-venv"


def _disk_problems() -> Iterator[str]:
    BASE.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(BASE).free / 1024**3
    if free < REQUIRED_GIB and not (NODE / ".stamp").exists():
        yield (
            f"{free:.1f} GiB are free under {BASE}, {REQUIRED_GIB} are required: free some space, or set "
            "SQLTUNE_LAB_DIR to a folder on another disk"
        )


def ensure_sshd() -> None:
    """Install OpenSSH's server from the system's packages if it is missing and this user may.

    Raises:
        SystemExit: it is missing, and this user may not install it; the message is the command to run.
    """
    if shutil.which("sshd") or Path("/usr/sbin/sshd").exists():
        return
    install = "apt-get install -y --no-install-recommends openssh-server"
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        sys.exit(f"the OpenSSH server is not installed: {'sudo ' if os.geteuid() else ''}{install}")
    report("installing openssh-server")
    env = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    with _services_not_started():
        run(["apt-get", "update"], "apt-get update", env)
        run(install.split(), install, env)


@contextmanager
def _services_not_started() -> Iterator[None]:
    """Keep apt from starting what it installs: the lab needs the program, not a system-wide server."""
    policy = Path("/usr/sbin/policy-rc.d")
    if policy.exists():
        yield
        return
    policy.write_text("#!/bin/sh\nexit 101\n")
    policy.chmod(0o755)
    try:
        yield
    finally:
        policy.unlink()
