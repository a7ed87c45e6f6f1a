"""A training of two iterations a checkpoint in mmengine's own loop, run by the hosts' Python.

    python sealed_training.py FOLDER 'LOSS …' KEPT

Its checkpoints are folders, as DeepSpeed's are. A seal is finished once the training waits for it.
"""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import torch
from mmengine.hooks import CheckpointHook
from mmengine.model import BaseModel
from mmengine.runner import Runner

import seal_checkpoint

waited_for = threading.Semaphore(0)
seal = seal_checkpoint.seal


def slow_seal(*arguments, **named):
    waited_for.acquire()
    seal(*arguments, **named)


class SealCheckpoint(seal_checkpoint.SealCheckpoint):
    def _wait_until_sealed(self):
        if self._sealing and not self._sealing.done():
            waited_for.release()
        super()._wait_until_sealed()


class Model(BaseModel):
    """Its loss is what it is given."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))

    def forward(self, losses, mode):
        return {"loss": 0 * self.weight.sum() + losses[0]}


class FolderRunner(Runner):
    def save_checkpoint(self, out_dir, filename, *_, **__):
        sealed = sorted(seal.parent.name for seal in Path(out_dir).glob("*/seal.0.json"))
        print(f"{filename} is written beside {sealed}", flush=True)
        folder = Path(out_dir, filename)
        folder.mkdir()
        (folder / "bf16_zero_pp_rank_0_mp_rank_00_optim_states.pt").write_bytes(b"state")


def train(folder: str, losses: list[float], kept: int) -> None:
    seal_checkpoint.seal = slow_seal
    FolderRunner(
        model=Model(),
        work_dir=folder,
        train_dataloader={
            "batch_size": 1,
            "dataset": [{"losses": loss} for loss in losses],
            "sampler": {"type": "DefaultSampler", "shuffle": False},
        },
        train_cfg={"by_epoch": False, "max_iters": len(losses)},
        optim_wrapper={"optimizer": {"type": "SGD", "lr": 0.1}},
        default_hooks={
            "checkpoint": {"type": CheckpointHook, "by_epoch": False, "interval": 2, "max_keep_ckpts": kept},
            "logger": None,
        },
        custom_hooks=[SealCheckpoint()],
        log_level="ERROR",
    ).train()


train(sys.argv[1], [float(loss) for loss in sys.argv[2].split()], int(sys.argv[3]))
