"""Part `queries`: what nvidia-smi or rocm-smi answers to the project's own code, byte for byte.

The code that asks is run as it is, with a program in front of the tool that records each call.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.gpu.recorder import QUERY
from bench.gpu.work import ROOT, LeftOut, Work
from host_checks import gpus
from ssh_gang.gpus import parse

TOOLS = {"cuda": "nvidia-smi", "rocm": "rocm-smi"}
SHELL = ROOT / "plugins/ssh_gang/shell/lib/gpus.sh"
RECORDER = Path(__file__).with_name("recorder.py")
QUERIES: dict[str, Callable[[str], Any]] = {
    "list": gpus.gpus,
    "processes": gpus.foreign_processes,
    "gang-processes": lambda accelerator: in_shell("gpu_processes", accelerator).splitlines(),
    "samples": lambda accelerator: [str(g) for g in parse(in_shell("gpu_samples", accelerator))],
}
"""Each query that the project makes on a host, by a name for it: preflight's two, and those of a gang."""


def measure(work: Work, _: str) -> dict[str, Any]:
    """The calls as they were recorded, and what the project reads from them."""
    accelerator = next((a for a, tool in TOOLS.items() if shutil.which(tool)), None)
    if accelerator is None:
        raise LeftOut(f"neither {' nor '.join(TOOLS.values())} is on PATH")
    calls = record(TOOLS[accelerator], work.folder / "recorder")
    held = None if work.on_cpu else hold_a_card()
    read = {}
    for name, query in QUERIES.items():
        os.environ[QUERY] = name
        read[name] = query(accelerator)
    del held
    lines = calls.read_text(encoding="utf-8").splitlines() if calls.exists() else []
    return {"accelerator": accelerator, "calls": [json.loads(line) for line in lines], "read": read}


def record(tool: str, folder: Path) -> Path:
    """Put the recorder in front of a tool for all that this process starts; the file that it writes."""
    folder.mkdir()
    calls = folder / "calls.jsonl"
    command = [sys.executable, str(RECORDER), str(shutil.which(tool)), str(calls)]
    (folder / tool).write_text(f'#!/bin/sh\nexec {shlex.join(command)} "$@"\n')
    (folder / tool).chmod(0o755)
    os.environ["PATH"] = f"{folder}:{os.environ['PATH']}"
    return calls


def hold_a_card() -> object:
    """Something on a card, so that the list of processes has a line; None without PyTorch."""
    try:
        import torch
    except ImportError:
        return None
    return torch.ones(1, device="cuda")


def in_shell(function: str, accelerator: str) -> str:
    """What a function of the gang's shell library prints."""
    script = f"accelerator={accelerator}\n. {shlex.quote(str(SHELL))}\n{function}"
    return subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False).stdout
