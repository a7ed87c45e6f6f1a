"""Remove what is not to be kept of older runs, and say what the disk holds.

    python retention.py '{"runs": "~/code/runs", "known": […], "merged": […], "checkpoints": […], "work_dir": "~/code"}'

Of the runs that are known, those in `merged` keep their merged model and those in `checkpoints` their checkpoints; adapters, configs and logs always stay, and
so does all of a run that is not known. The last line it prints is `RESULT {"removed": […], "freed_gib": …, "disk": {…}}`.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

GIB = 1024**3


def size(folder: Path) -> int:
    """Bytes on the disk under a folder; a file with several names counts once."""
    seen = {}
    for root, _, names in os.walk(folder):
        for name in names:
            try:
                stat = os.lstat(os.path.join(root, name))
            except FileNotFoundError:
                continue
            seen[stat.st_dev, stat.st_ino] = stat.st_blocks * 512
    return sum(seen.values())


def main(want: dict) -> dict:
    """Remove, and count."""
    runs = Path(want["runs"]).expanduser()
    work_dir = Path(want["work_dir"]).expanduser()
    free = shutil.disk_usage(work_dir).free
    removed = []
    for name in want["known"]:
        run = runs / name
        doomed = [] if name in want["merged"] else [run / "merged"]
        if name not in want["checkpoints"]:
            doomed += sorted(run.glob("train/*/iter_*.pth"))
        for path in doomed:
            if path.exists():
                shutil.rmtree(path)
                removed.append(f"{name}/{path.relative_to(run)}")
    usage = shutil.disk_usage(work_dir)
    folders = {name: size(work_dir / name) / GIB for name in ("runs", "data") if (work_dir / name).is_dir()}
    return {
        "removed": removed,
        "freed_gib": max(0, usage.free - free) / GIB,
        "disk": {"total": usage.total / GIB, "free": usage.free / GIB, **folders},
    }


if __name__ == "__main__":
    print("RESULT " + json.dumps(main(json.loads(sys.argv[1]))))
