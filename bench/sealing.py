"""What sealing a checkpoint costs the steps beside it: the same steps with it, without, and waiting for it.

    .lab/node-env/bin/python bench/sealing.py [GIB [TIMES]]

Trains a small network on one core, in many short steps, as a rank's Python does; a checkpoint of GIB (4) is
there once a tenth of the steps is done. `beside` calls the hook of the chain, which hashes the files in a
thread; `waiting` hashes them before the next step. Each time in a process of its own, in turns; the median.
Prints one JSON object: seconds of the steps, and the share of them that each way adds.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from types import SimpleNamespace

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "include" / "node"), str(ROOT / "plugins")]

GIB = 4.0
TIMES = 5
STEPS = 400
WAYS = ("without", "beside", "waiting")
_BLOCK = 1 << 26


def write_checkpoint(folder: Path, gib: float) -> None:
    """A checkpoint of two files of noise, of a run that can be identified."""
    checkpoint = folder / f"iter_{STEPS // 10}.pth"
    checkpoint.mkdir()
    (folder / "run.json").write_text(json.dumps({"fingerprint": "benchmark"}))
    for name in ("model.pt", "optim.pt"):
        with (checkpoint / name).open("wb") as f:
            for _ in range(max(1, round(gib * 2**30 / 2 / _BLOCK))):
                f.write(os.urandom(_BLOCK))


def train(folder: Path, way: str) -> float:
    """Seconds of all steps."""
    import torch

    from seal_checkpoint import SealCheckpoint

    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = torch.nn.Sequential(*(torch.nn.Linear(256, 256) for _ in range(48)))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    batch = torch.randn(64, 256)
    hook = SealCheckpoint()
    began = time.perf_counter()
    for step in range(STEPS):
        runner = SimpleNamespace(work_dir=str(folder), iter=step, max_iters=STEPS, hooks=[])
        hook.before_train_iter(runner, step)
        optimizer.zero_grad()
        model(batch).square().mean().backward()
        optimizer.step()
        if way != "without":
            hook.after_train_iter(runner, step)
            if way == "waiting":
                hook._wait_until_sealed()
    seconds = time.perf_counter() - began
    if way == "beside" and hook._sealing and not hook._sealing.done():
        raise SystemExit("the steps ended before the checkpoint was sealed: raise STEPS")
    return seconds


def main(gib: float, times: int) -> None:
    """Measure each way in turns."""
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    with tempfile.TemporaryDirectory(dir=ROOT) as folder:
        write_checkpoint(Path(folder), gib)
        for _ in range(times):
            for way in WAYS:
                command = [sys.executable, __file__, folder, way]
                output = subprocess.check_output(command, text=True)
                seconds[way].append(float(output.splitlines()[-1]))
    medians = {way: median(values) for way, values in seconds.items()}
    measured = {f"{way}_s": round(value, 2) for way, value in medians.items()}
    added = {f"{way}_adds": round(medians[way] / medians["without"] - 1, 4) for way in WAYS[1:]}
    print(json.dumps({"gib": gib, "steps": STEPS, **measured, **added}))


if __name__ == "__main__":
    if len(sys.argv) == 3 and sys.argv[2] in WAYS:
        print(train(Path(sys.argv[1]), sys.argv[2]))
    else:
        numbers = [float(number) for number in sys.argv[1:]]
        main(numbers[0] if numbers else GIB, int(numbers[1]) if len(numbers) > 1 else TIMES)
