"""Checkpoints are sealed with hashes when written (`seal_checkpoint.py`) and verified before a resume.

    python checkpoints.py '{"action": "list", "folder": "~/code/runs/RUN/train"}'
    python checkpoints.py '{"action": "verify", "folder": "~/…/train/try1-ab/iter_500.pth"}'
    python checkpoints.py '{"action": "stage", "folder": "~/…/iter_500.pth", "work_dir": "~/…/train/try2-cd"}'

Imports no torch, which would take seconds.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from hashing import file_hash
from sqltune.node_contracts.checkpoints import (
    CHECKPOINTS,
    CheckpointsRequest,
    CheckpointsResponse,
    Seal,
    SealedCheckpoint,
)

SEAL = "seal"
"""Seals are called seal.<node rank>.json, so that on shared storage each host has its own."""


def seal(folder: Path, step: int, total: int, world_size: int, node_rank: int) -> None:
    """Write this host's seal of a checkpoint: its files with their hashes.

    `run.json` beside the checkpoint holds the fingerprint of what is trained.
    """
    run = json.loads((folder.parent / "run.json").read_text(encoding="utf-8"))
    content = Seal(
        step=step,
        total=total,
        fingerprint=run["fingerprint"],
        world_size=world_size,
        files={p.name: file_hash(p) for p in sorted(folder.glob("*.pt"))},
    )
    temporary = folder / f"{SEAL}.{node_rank}.new"
    temporary.write_text(content.model_dump_json())
    # Written atomically: a checkpoint whose writing was interrupted has no seal.
    temporary.replace(folder / f"{SEAL}.{node_rank}.json")


def seals(root: Path) -> list[SealedCheckpoint]:
    """The seals of all checkpoints of all attempts under a folder.

    Each has the name of its attempt instead of a path, because homes differ between hosts.
    """
    return [
        SealedCheckpoint(attempt=p.parents[1].name, **json.loads(p.read_text()))
        for p in sorted(root.glob(f"*/iter_*.pth/{SEAL}.*.json"))
    ]


def damaged(folder: Path) -> list[str]:
    """Files that are missing, or differ from the hash in this host's seals."""
    expected = [
        item
        for path in folder.glob(f"{SEAL}.*.json")
        for item in json.loads(path.read_text())["files"].items()
    ]
    return [
        name
        for name, digest in expected
        if not (folder / name).is_file() or file_hash(folder / name) != digest
    ]


def stage(folder: Path, work_dir: Path) -> list[str]:
    """Hard-link a checkpoint into a new attempt's work folder, and make it the one to resume from.

    Returns:
        Names of the files in the staged checkpoint.
    """
    target = work_dir / folder.name
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    for file in folder.iterdir():
        (target / file.name).hardlink_to(file)
    # mmengine writes this file on rank 0's host only. On a host without it a rank starts from scratch,
    # and all ranks wait for each other for ever.
    (work_dir / "last_checkpoint").write_text(str(target))
    return sorted(f.name for f in target.iterdir())


def handle(request: CheckpointsRequest) -> CheckpointsResponse:
    """List, verify or stage."""
    folder = Path(request.folder).expanduser()
    if request.action == "list":
        return CheckpointsResponse(seals=seals(folder))
    if request.action == "verify":
        return CheckpointsResponse(damaged=damaged(folder))
    return CheckpointsResponse(staged=stage(folder, Path(request.work_dir).expanduser()))


if __name__ == "__main__":
    CHECKPOINTS.main(handle)
