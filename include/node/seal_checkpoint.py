"""Seals checkpoints during training: `custom_hooks = [dict(type=SealCheckpoint)]` in an xtuner config."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.hooks import CheckpointHook, Hook

from checkpoints import seal


class SealCheckpoint(Hook):  # type: ignore[misc]  # mmengine has no types
    """Seals each checkpoint on each host once it is whole, and removes old ones where mmengine does not."""

    priority = "LOWEST"

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Called by mmengine on every rank; the first rank of a host acts for the host."""
        step = runner.iter + 1
        folder = Path(runner.work_dir) / f"iter_{step}.pth"
        # DeepSpeed's save ends with a barrier, so every rank has written its shard. Without DeepSpeed a
        # checkpoint is one file, which is never resumed from.
        if os.environ.get("LOCAL_RANK", "0") != "0" or not folder.is_dir():
            return
        # A config that is run by hand has no run.json: what it trained could not be identified later.
        if not (folder.parent / "run.json").is_file():
            return
        # Weights that produced a NaN loss do not recover: a retry resumes from the checkpoint before.
        if not _loss_is_finite(outputs):
            print(f"checkpoint {folder.name} is not sealed: its loss is not finite", flush=True)
            return
        node_rank = int(os.environ.get("GROUP_RANK", "0"))
        seal(
            folder,
            step=step,
            total=runner.max_iters,
            world_size=int(os.environ.get("WORLD_SIZE", "1")),
            node_rank=node_rank,
        )
        # The watcher reads this line: CHECKPOINT_PATTERN in sqltune.operators.mmengine.
        print(f"checkpoint {folder.name} is sealed", flush=True)
        if node_rank:
            _remove_old_checkpoints(runner, folder.parent)


def _loss_is_finite(outputs: Mapping[str, Any] | None) -> bool:
    """Whether the loss of this iteration is a number; True where the model reports none."""
    return outputs is None or "loss" not in outputs or math.isfinite(float(outputs["loss"]))


def _remove_old_checkpoints(runner: Any, folder: Path) -> None:
    """Keep as many as `max_keep_ckpts`: mmengine removes old checkpoints on rank 0's host only."""
    keep = next((h.max_keep_ckpts for h in runner.hooks if isinstance(h, CheckpointHook)), -1)
    if keep <= 0:
        return
    steps = sorted((int(p.name[5:-4]) for p in folder.glob("iter_*.pth")), reverse=True)
    for old in steps[keep:]:
        shutil.rmtree(folder / f"iter_{old}.pth", ignore_errors=True)
