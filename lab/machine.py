"""What the machine must have before the long work starts, and steps that are run on it. Standard library only."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from lab.paths import BASE, NODE

GIB_WANTED = 10


def say(text: str) -> None:
    """One line of what is being done."""
    print(f"[{time.strftime('%H:%M:%S')}] {text}", flush=True)


def run(command: list[str], what: str, **more: object) -> None:
    """Run one step, its words in .lab/logs/setup.log; exit with their end when it fails."""
    log = BASE / "logs" / "setup.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a") as f:
        f.write(f"\n$ {' '.join(command)}\n")
        f.flush()
        code = subprocess.run(
            command, stdout=f, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, **more
        ).returncode  # type: ignore[call-overload]
    if code:
        words = log.read_text(errors="replace").splitlines()[-25:]
        offline = any("resolution" in w or "Connection" in w or "network" in w.lower() for w in words)
        hint = (
            "\nIs there a network? Packages come from the index that pip is configured for."
            if offline
            else ""
        )
        sys.exit("\n".join(words) + f"\n{what} failed; all of it is in {log}{hint}")


def check_machine() -> None:
    """What can't be mended by waiting: said first."""
    problems = []
    if sys.version_info[:2] != (3, 11):
        problems.append(
            f"Python 3.11 is wanted, this is {sys.version.split()[0]}: install it (apt-get install python3.11 python3.11-venv), or make PYTHON=/path/to/python3.11"
        )
    try:
        import ensurepip  # noqa: F401
        import venv  # noqa: F401
    except ImportError:
        problems.append("Python has no venv: apt-get install python3-venv")
    BASE.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(BASE).free / 1024**3
    if free < GIB_WANTED and not (NODE / ".stamp").exists():
        problems.append(
            f"{free:.1f} GiB are free under {BASE}, {GIB_WANTED} wanted: make room, or set SQLTUNE_LAB_DIR to another disk"
        )
    for program, package in (("g++", "g++"), ("ssh-keygen", "openssh-client"), ("make", "make")):
        if not shutil.which(program):
            problems.append(f"{program} is not there: apt-get install {package}")
    if problems:
        sys.exit("\n".join(problems))


def ensure_sshd() -> None:
    """OpenSSH's server: from the system's packages when it is missing and we may install it."""
    if shutil.which("sshd") or Path("/usr/sbin/sshd").exists():
        return
    line = "apt-get install -y --no-install-recommends openssh-server"
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        sys.exit(f"the OpenSSH server is not installed: {'sudo ' if os.geteuid() else ''}{line}")
    say("installing openssh-server")
    env = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    # No server of the system's own is wanted, only the program.
    policy = Path("/usr/sbin/policy-rc.d")
    mine = not policy.exists()
    if mine:
        policy.write_text("#!/bin/sh\nexit 101\n")
        policy.chmod(0o755)
    try:
        run(["apt-get", "update"], "apt-get update", env=env)
        run(line.split(), line, env=env)
    finally:
        if mine:
            policy.unlink()
