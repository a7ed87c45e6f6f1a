"""The same training under each DeepSpeed strategy and plain DDP, on CPU: losses and seconds an iteration.

    .lab/control-env/bin/python bench/strategies.py [MODEL [STEPS]]

MODEL is a folder of .lab/models: tiny (the default) or smollm2-135m. Two ranks on this machine train the
lab's rows with lab_lora.py; the strategy alone differs between the lines. Prints a Markdown table.
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "plugins")]

from lab import dataset  # noqa: E402
from lab.paths import BASE  # noqa: E402
from sqltune.config.xtuner_config import read_config, set_values  # noqa: E402
from sqltune.dataset.split import clean, split, write  # noqa: E402

STRATEGIES = ("ddp", "zero1", "zero2", "zero2_offload", "zero3", "zero3_offload")
NODE_ENV = BASE / "node-env"
WARM_UP = 2
TIMEOUT = 1800
LINE = re.compile(r"Iter\(train\) \[\s*\d+/\d+\].*? time: ([\d.]+).*? loss: ([\d.]+|nan)")
# Plain DDP on CPU: mmengine would name a device.
DDP = "\nmodel_wrapper_cfg = dict(type='MMDistributedDataParallel', device_ids=None)\n"


@dataclass(frozen=True)
class Trained:
    strategy: str
    losses: list[float]
    seconds: list[float]
    wall: float
    """Seconds from the launch to the end."""

    @property
    def seconds_per_step(self) -> float:
        steady = self.seconds[WARM_UP:] or self.seconds
        return sum(steady) / len(steady)


def config(model: str, steps: int, train_path: str, strategy: str) -> str:
    values = {
        "pretrained_model_name_or_path": str(BASE / "models" / model),
        "data_path": train_path,
        "max_steps": steps,
        "batch_size": 2,
        "lora_r": 16,
        "lr": 1e-3,
    }
    return set_values(read_config("lab_lora.py"), values) + (DDP if strategy == "ddp" else "")


def train(strategy: str, model: str, steps: int, folder: Path) -> Trained:
    rows = [clean(row) for row in dataset.rows(1)]
    written = write(split([row for row in rows if row], 20), folder / "data")
    work = folder / strategy
    work.mkdir(parents=True)
    (work / "config.py").write_text(config(model, steps, written.train_path, strategy))
    deepspeed = [] if strategy == "ddp" else ["--deepspeed", f"deepspeed_{strategy}"]
    command = [
        "torchrun",
        "--nnodes=1",
        "--nproc_per_node=2",
        f"--master_port={free_port()}",
        "-m",
        "xtuner.tools.train",
        "config.py",
        "--work-dir",
        "work",
        *deepspeed,
        "--launcher",
        "pytorch",
    ]
    started = time.monotonic()
    finished = subprocess.run(
        command,
        cwd=work,
        env=environment(folder),
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    log = finished.stdout + finished.stderr
    found = LINE.findall(log)
    if finished.returncode or len(found) != steps:
        raise RuntimeError(
            f"{strategy} ended with {finished.returncode} after {len(found)} steps:\n{log[-3000:]}"
        )
    wall = time.monotonic() - started
    return Trained(
        strategy, [float(loss) for _, loss in found], [float(seconds) for seconds, _ in found], wall
    )


def environment(folder: Path) -> dict[str, str]:
    return os.environ | {
        "PYTHONPATH": f"{ROOT}/include/node:{ROOT}/plugins",
        "PATH": f"{NODE_ENV}/bin:{os.environ['PATH']}",
        "HOME": str(folder),
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "TORCH_EXTENSIONS_DIR": str(NODE_ENV / "torch_extensions"),
    }


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def main(model: str = "tiny", steps: str = "30") -> None:
    with tempfile.TemporaryDirectory() as folder:
        results = []
        for strategy in STRATEGIES:
            results.append(train(strategy, model, int(steps), Path(folder)))
            print(results[-1], file=sys.stderr, flush=True)
    fastest = min(r.seconds_per_step for r in results)
    reference = results[0].losses
    print(
        f"| {model}, {steps} iterations | s an iteration | times the fastest | first and last loss "
        "| largest difference to DDP's |"
    )
    print("|---|---|---|---|---|")
    for r in results:
        difference = max(abs(a - b) for a, b in zip(r.losses, reference, strict=True))
        print(
            f"| {r.strategy} | {r.seconds_per_step:.3f} | {r.seconds_per_step / fastest:.1f} "
            f"| {r.losses[0]:.3f}, {r.losses[-1]:.3f} | {difference:.3f} |"
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
