"""Remove old models and checkpoints from this host, and report its disk usage.

python retention.py '{"runs": "~/code/runs", "known": […], "merged": […], "checkpoints": […], …}'
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from sqltune.node_contracts.retention import RETENTION, RetentionRequest, RetentionResponse

GIB = 1024**3


def prune(request: RetentionRequest) -> RetentionResponse:
    """Remove what need not stay, and measure the disk usage."""
    runs, work_dir = Path(request.runs).expanduser(), Path(request.work_dir).expanduser()
    free_before = shutil.disk_usage(work_dir).free
    removed = [path for path in superfluous(request, runs) if path.exists()]
    for path in removed:
        shutil.rmtree(path)
    usage = shutil.disk_usage(work_dir)
    folders = {name: size(work_dir / name) / GIB for name in ("runs", "data") if (work_dir / name).is_dir()}
    return RetentionResponse(
        removed=[str(path.relative_to(runs)) for path in removed],
        freed_gib=max(0, usage.free - free_before) / GIB,
        disk={"total": usage.total / GIB, "free": usage.free / GIB, **folders},
    )


def superfluous(request: RetentionRequest, runs: Path) -> Iterator[Path]:
    """Folders of known runs that are not to be kept."""
    for name in request.known:
        if name not in request.merged:
            yield runs / name / "merged"
        if name not in request.checkpoints:
            yield from sorted((runs / name).glob("train/*/iter_*.pth"))


def size(folder: Path) -> int:
    """Bytes on the disk under a folder; a file with several hard links counts once."""
    blocks = {}
    for root, _, names in os.walk(folder):
        for name in names:
            # A file may vanish during the walk.
            with contextlib.suppress(FileNotFoundError):
                stat = Path(root, name).lstat()
                blocks[stat.st_dev, stat.st_ino] = stat.st_blocks * 512
    return sum(blocks.values())


if __name__ == "__main__":
    RETENTION.main(prune)
