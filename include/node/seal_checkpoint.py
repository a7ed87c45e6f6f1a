"""Seals checkpoints while training: `custom_hooks = [dict(type=SealCheckpoint)]` in an xtuner config."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from checkpoints import seal
from mmengine.hooks import CheckpointHook, Hook


class SealCheckpoint(Hook):
    """Seals each checkpoint on each host once it is whole, and keeps as many there as rank 0's hook keeps on its own."""

    priority = "LOWEST"

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Called by mmengine on every rank; a host's first rank does it for the host."""
        step = runner.iter + 1
        folder = Path(runner.work_dir) / f"iter_{step}.pth"
        # DeepSpeed's saving ends with a barrier: every rank has written. Without DeepSpeed it is a file, which is never gone on from.
        if os.environ.get("LOCAL_RANK", "0") != "0" or not folder.is_dir():
            return
        # A config that is run by hand has no run.json: nothing could tell later what was trained.
        if not (folder.parent / "run.json").is_file():
            return
        node_rank = int(os.environ.get("GROUP_RANK", "0"))
        seal(folder, step, runner.max_iters, int(os.environ.get("WORLD_SIZE", "1")), node_rank)
        keep = next((h.max_keep_ckpts for h in runner.hooks if isinstance(h, CheckpointHook)), -1)
        if node_rank and keep > 0:
            # mmengine removes old checkpoints on rank 0's host only; elsewhere they would fill the disk.
            steps = sorted((int(p.name[5:-4]) for p in folder.parent.glob("iter_*.pth")), reverse=True)
            for old in steps[keep:]:
                shutil.rmtree(folder.parent / f"iter_{old}.pth", ignore_errors=True)
