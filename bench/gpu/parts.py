"""The parts, each run in a process of its own.

Standard library only: which packages are missing is for each part to say.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import Any

from marks import has_mark

ROOT = Path(__file__).resolve().parents[2]
PARTS = (
    "machine",
    "queries",
    "all_reduce",
    "training_zero3_offload",
    "training_zero2",
    "training_ddp",
    "serving_fastchat",
    "serving_batched",
)
FAILURES = ("failed", "timed out", "package missing")
"""The other outcomes: ok, left out."""
GRACE = 15.0
"""Seconds from SIGTERM to SIGKILL: torchrun ends its ranks itself when it is asked to stop."""
TAIL = 3000

Outcome = dict[str, Any]
"""status, seconds, and either result or error."""


def run(part: str, folder: Path, device: str, limit: float) -> Outcome:
    """Run a part to its end, or to its time limit, after which none of its processes is left.

    Args:
        part: One of `PARTS`.
        folder: Folder of the run, where the parts share the models that they make.
        device: `cuda`, which is ROCm's name in PyTorch too, or `cpu`.
        limit: Seconds that it may take.
    """
    mark = f"SQLTUNE_BENCH_{uuid.uuid4().hex}"
    log = folder / f"{part}.log"
    began = time.monotonic()
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "bench.gpu.process", part, str(folder), device],
            cwd=ROOT,
            env=environment(device) | {mark: part},
            stdout=output,
            stderr=output,
        )
    try:
        code: int | None = process.wait(limit)
    except subprocess.TimeoutExpired:
        code = None
    finally:
        end(mark)
        process.wait()
    return {"seconds": round(time.monotonic() - began, 1)} | outcome(part, folder, code, limit)


def environment(device: str) -> dict[str, str]:
    """The environment of a part; without cards where it is to run on the CPU."""
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    hidden = {"CUDA_VISIBLE_DEVICES": "", "HIP_VISIBLE_DEVICES": ""} if device == "cpu" else {}
    # All traffic is to this machine.
    local = {"no_proxy": "*", "HF_HUB_OFFLINE": "1"}
    return os.environ | local | hidden | {"PYTHONPATH": os.pathsep.join(paths)}


def outcome(part: str, folder: Path, code: int | None, limit: float) -> Outcome:
    """What a part wrote, or why it wrote nothing."""
    answer = folder / f"{part}.json"
    if code is not None and answer.exists():
        written: Outcome = json.loads(answer.read_text(encoding="utf-8"))
        return written
    tail = (folder / f"{part}.log").read_text(encoding="utf-8", errors="replace")[-TAIL:]
    if code is None:
        return {"status": "timed out", "error": f"not done after {limit:g} s; its output ends:\n{tail}"}
    return {"status": "failed", "error": f"ended with {code}; its output ends:\n{tail}"}


def end(mark: str) -> None:
    """End every process with a variable in its environment: ask, then kill."""
    for signum, seconds in ((signal.SIGTERM, GRACE), (signal.SIGKILL, GRACE)):
        deadline = time.monotonic() + seconds
        for pid in marked(mark):
            send(pid, signum)
        while marked(mark):
            if time.monotonic() > deadline:
                break
            time.sleep(0.05)


def send(pid: int, signum: signal.Signals) -> None:
    """Send a signal to a process that may have ended meanwhile."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signum)


def marked(mark: str) -> list[int]:
    """Processes with a variable in their environment; ended ones have none."""
    return [int(p.name) for p in Path("/proc").iterdir() if p.name.isdigit() and is_marked(p, mark)]


def is_marked(process: Path, mark: str) -> bool:
    try:
        return has_mark(process, mark)
    except OSError:
        return False
