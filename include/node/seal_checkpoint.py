"""Seals checkpoints during training: `custom_hooks = [dict(type=SealCheckpoint)]` in an xtuner config."""

from __future__ import annotations

import math
import os
import shutil
import sys
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from mmengine.hooks import CheckpointHook, Hook

from checkpoints import seal


class SealCheckpoint(Hook):  # type: ignore[misc]  # mmengine has no types
    """Seals each checkpoint on each host once it is whole, and removes old ones where mmengine does not.

    Every rank waits for the slowest, and a checkpoint may be gigabytes: its files are hashed in a thread,
    beside the steps that follow, without Python's lock. A step that writes a checkpoint begins when the one
    before is sealed, and a training ends when its last one is.
    """

    priority = "LOWEST"

    def __init__(self) -> None:
        # The interpreter waits for the thread at its end: a training that fails has sealed what it wrote.
        self._sealer = ThreadPoolExecutor(max_workers=1)
        self._sealing: Future[None] | None = None

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        """Called by mmengine on every rank; an error of the sealing ends the training."""
        # mmengine removes the oldest checkpoint before it writes the next: a sealed one must be left.
        if _writes_checkpoint(runner):
            self._wait_until_sealed()

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Called by mmengine on every rank; the first rank of a host acts for the host."""
        folder = Path(runner.work_dir) / f"iter_{runner.iter + 1}.pth"
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
        self._sealing = self._sealer.submit(_seal, folder, runner.iter + 1, runner.max_iters, _kept(runner))

    def after_train(self, runner: Any) -> None:
        """Called by mmengine after the last iteration."""
        self._wait_until_sealed()

    def _wait_until_sealed(self) -> None:
        """Wait for the checkpoint before; an error of its sealing ends the training."""
        if self._sealing is not None:
            self._sealing.result()


def _loss_is_finite(outputs: Mapping[str, Any] | None) -> bool:
    """Whether the loss of this iteration is a number; True where the model reports none."""
    return outputs is None or "loss" not in outputs or math.isfinite(float(outputs["loss"]))


def _writes_checkpoint(runner: Any) -> bool:
    """Whether mmengine writes a checkpoint after this iteration."""
    return any(
        hook.every_n_train_iters(runner, hook.interval, hook.save_begin)
        or (hook.save_last and hook.is_last_train_iter(runner))
        for hook in _checkpoint_hooks(runner)
    )


def _kept(runner: Any) -> int:
    """Number of checkpoints that mmengine keeps; -1: all."""
    return next((hook.max_keep_ckpts for hook in _checkpoint_hooks(runner)), -1)


def _checkpoint_hooks(runner: Any) -> list[CheckpointHook]:
    return [hook for hook in runner.hooks if isinstance(hook, CheckpointHook)]


def _seal(folder: Path, step: int, total: int, keep: int) -> None:
    """Seal a checkpoint, then remove older ones, in the thread."""
    node_rank = int(os.environ.get("GROUP_RANK", "0"))
    seal(
        folder,
        step=step,
        total=total,
        world_size=int(os.environ.get("WORLD_SIZE", "1")),
        node_rank=node_rank,
    )
    # The watcher reads this line: CHECKPOINT_PATTERN in sqltune.operators.mmengine. In one write, because the
    # training prints as well.
    sys.stdout.write(f"checkpoint {folder.name} is sealed\n")
    sys.stdout.flush()
    if node_rank:
        _remove_old_checkpoints(folder.parent, step, keep)


def _remove_old_checkpoints(folder: Path, newest: int, keep: int) -> None:
    """Keep as many as `max_keep_ckpts`: mmengine removes old checkpoints on rank 0's host only.

    One that is newer than the newest is being written, and is not counted.
    """
    if keep <= 0:
        return
    steps = sorted((int(p.name[5:-4]) for p in folder.glob("iter_*.pth")), reverse=True)
    sealed = [step for step in steps if step <= newest]
    for old in sealed[keep:]:
        shutil.rmtree(folder / f"iter_{old}.pth", ignore_errors=True)
