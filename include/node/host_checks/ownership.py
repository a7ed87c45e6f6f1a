"""Which Airflow installation a work folder belongs to."""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path

MARK = ".sqltune-records"
"""File in the work folder that holds the id of the installation."""


def owner(work_dir: Path, installation: str) -> str:
    """Id of the installation whose records describe the work folder.

    A folder without an owner is marked for this installation.
    """
    mark = work_dir / MARK
    if not mark.exists():
        own = work_dir / f"{MARK}.{os.getpid()}.{socket.gethostname()}"
        own.write_text(installation)
        # Of two installations that mark the folder at the same time, the first one gets it.
        with contextlib.suppress(FileExistsError):
            os.link(own, mark)
        own.unlink()
    return mark.read_text()
