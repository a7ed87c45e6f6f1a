"""Checkpoints that can be trusted: sealed with their hashes when they are written (`seal_checkpoint.py`), checked before training goes on from them.

Standard library only: torch would take seconds to import. On a host it prints `RESULT …`:

    python checkpoints.py list ~/code/runs/RUN/train          every seal there, of every try
    python checkpoints.py verify ~/…/train/try1-ab/iter_500.pth
    python checkpoints.py stage ~/…/train/try1-ab/iter_500.pth ~/…/train/try2-cd
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

SEAL = "seal"
"""Seals are called seal.<node rank>.json: on shared storage every host has its own."""


def _hash(path: Path) -> str:
    with path.open("rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def seal(folder: Path, step: int, total: int, world_size: int, node_rank: int) -> None:
    """Write what this host holds of a checkpoint, with hashes; `run.json` beside the checkpoint says what is trained."""
    run = json.loads((folder.parent / "run.json").read_text(encoding="utf-8"))
    value = {
        "step": step,
        "total": total,
        "fingerprint": run["fingerprint"],
        "world_size": world_size,
        "files": {p.name: _hash(p) for p in sorted(folder.glob("*.pt"))},
    }
    temporary = folder / f"{SEAL}.{node_rank}.new"
    temporary.write_text(json.dumps(value))
    # A seal is there whole or not at all: a checkpoint whose writing was cut short has none.
    os.replace(temporary, folder / f"{SEAL}.{node_rank}.json")


def listed(root: Path) -> list[dict[str, Any]]:
    """The seals of all checkpoints of all tries under a folder, each with the name of its try: homes differ from host to host."""
    return [
        json.loads(p.read_text()) | {"attempt": p.parents[1].name}
        for p in sorted(root.glob(f"*/iter_*.pth/{SEAL}.*.json"))
    ]


def verify(folder: Path) -> list[str]:
    """Files that are not what the host's seals say."""
    bad = []
    for path in folder.glob(f"{SEAL}.*.json"):
        for name, wanted in json.loads(path.read_text())["files"].items():
            file = folder / name
            if not file.is_file() or _hash(file) != wanted:
                bad.append(name)
    return bad


def stage(folder: Path, work_dir: Path) -> list[str]:
    """Put a checkpoint into a new try's work folder, by hard links, and name it as the one to go on from; the files there."""
    target = work_dir / folder.name
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    for file in folder.iterdir():
        os.link(file, target / file.name)
    # mmengine writes this on rank 0's host alone; where it is missing a rank starts from scratch, and all wait for ever.
    (work_dir / "last_checkpoint").write_text(str(target))
    return sorted(f.name for f in target.iterdir())


def main(what: str, *paths: str) -> Any:
    """The script."""
    folders = [Path(p).expanduser() for p in paths]
    return {"list": listed, "verify": verify, "stage": stage}[what](*folders)


if __name__ == "__main__":
    print("RESULT " + json.dumps({"value": main(*sys.argv[1:])}))
