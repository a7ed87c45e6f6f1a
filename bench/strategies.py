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
from lab.paths import BASE, NODE  # noqa: E402
from sqltune.config.xtuner_config import read_config, set_values  # noqa: E402
from sqltune.dataset.split import clean, split, write  # noqa: E402

STRATEGIES = ("ddp", "zero1", "zero2", "zero2_offload", "zero3", "zero3_offload")
NODE_PYTHON = NODE / "bin" / "python"
WARM_UP = 2
TIMEOUT = 1800
LINE = re.compile(
    r"Iter\(train\) \[\s*\d+/\d+\].*? time: ([\d.]+)(?:.*? memory: (\d+))?.*? loss: ([\d.]+|nan)"
)
# Plain DDP on CPU: mmengine would name a device.
DDP = "\nmodel_wrapper_cfg = dict(type='MMDistributedDataParallel', device_ids=None)\n"


@dataclass(frozen=True)
class Trained:
    strategy: str
    losses: list[float]
    seconds: list[float]
    wall: float
    """Seconds from the launch to the end."""
    peak_memory: int | None = None
    """Memory that PyTorch allocated at most on one of the cards, in MiB; None without cards."""

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
    return launch(strategy, config(model, steps, training_rows(folder), strategy), steps, folder)


def training_rows(folder: Path) -> str:
    """Write the lab's rows, split; the file of those to train on."""
    rows = [clean(row) for row in dataset.rows(1)]
    return write(split([row for row in rows if row], 20), folder / "data").train_path


def launch(
    strategy: str, config: str, steps: int, folder: Path, *, ranks: int = 2, python: Path = NODE_PYTHON
) -> Trained:
    """Train with the text of a config; each iteration must log a line.

    Raises:
        RuntimeError: It failed, or logged fewer; the message has the log's end.
    """
    work = folder / strategy
    work.mkdir(parents=True)
    (work / "config.py").write_text(config)
    deepspeed = [] if strategy == "ddp" else ["--deepspeed", f"deepspeed_{strategy}"]
    command = [
        str(python),
        "-m",
        "torch.distributed.run",
        "--nnodes=1",
        f"--nproc_per_node={ranks}",
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
        env=environment(folder, python),
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
    seconds, memory, losses = zip(*found, strict=True)
    peak = max((int(mebibytes) for mebibytes in memory if mebibytes), default=None)
    return Trained(strategy, [float(loss) for loss in losses], [float(s) for s in seconds], wall, peak)


def environment(folder: Path, python: Path) -> dict[str, str]:
    paths = [f"{ROOT}/include/node", f"{ROOT}/plugins", *filter(None, [os.environ.get("PYTHONPATH")])]
    # Compiled by bootstrap.sh on a host without a card, and not there on others.
    extensions = python.parents[1] / "torch_extensions"
    return (
        os.environ
        | {
            "PYTHONPATH": os.pathsep.join(paths),
            "PATH": f"{python.parent}:{os.environ['PATH']}",
            "HOME": str(folder),
            "HF_HUB_OFFLINE": "1",
            "OMP_NUM_THREADS": "1",
            "TOKENIZERS_PARALLELISM": "false",
        }
        | ({"TORCH_EXTENSIONS_DIR": str(extensions)} if extensions.exists() else {})
    )


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
