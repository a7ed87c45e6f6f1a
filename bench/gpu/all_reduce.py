"""Part `all_reduce`: include/node/all_reduce.py as it is, one rank on each card."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

from bench.gpu.work import ROOT, Work
from bench.strategies import environment, free_port
from sqltune.node_contracts.all_reduce import ALL_REDUCE, AllReduceRequest

CPU_RANKS = 2


def measure(work: Work, _: str) -> dict[str, Any]:
    """What rank 0 measured, with NCCL (RCCL on ROCm), or with gloo on the CPU."""
    backend = "gloo" if work.on_cpu else "nccl"
    script = ALL_REDUCE.argv(str(ROOT / "include/node"), AllReduceRequest(backend=backend))[1:]
    launcher = ["-m", "torch.distributed.run", "--nnodes=1", f"--nproc_per_node={ranks(work)}"]
    answer = subprocess.run(
        [sys.executable, *launcher, f"--master_port={free_port()}", *script],
        cwd=work.folder,
        env=environment(work.folder, Path(sys.executable)),
        capture_output=True,
        text=True,
        check=False,
    )
    if answer.returncode:
        raise RuntimeError(f"torchrun ended with {answer.returncode}:\n{answer.stdout}{answer.stderr}")
    measured = ALL_REDUCE.read(answer.stdout).model_dump()
    alone = {"note": "one card: there was no other rank to exchange with"} if ranks(work) == 1 else {}
    return measured | alone


def ranks(work: Work) -> int:
    """One for each card."""
    return CPU_RANKS if work.on_cpu else int(torch.cuda.device_count())
