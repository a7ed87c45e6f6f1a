"""Files that survive a power cut once they have their name."""

from __future__ import annotations

import errno
import os
import uuid
from pathlib import Path

TEMPORARY = "."
"""How the name of a file begins that is not whole yet; its writer may have died."""


def write(path: Path, data: bytes) -> None:
    """Write a file, whole or not at all; when this returns, it is on the disk under its name.

    Raises:
        OSError: It can't be written; nothing is left of it.
    """
    make_folder(path.parent)
    temporary = path.with_name(f"{TEMPORARY}{path.name}.{uuid.uuid4().hex}")
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def make_folder(folder: Path) -> None:
    """Create a folder, with those above it, where it is missing; each is on the disk when this returns.

    Raises:
        OSError: It can't be created.
    """
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    _sync_folder(folder.parent)


def _sync_folder(folder: Path) -> None:
    """Put the names in a folder on the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError as e:
        # Some network file systems can't sync a folder, and need not.
        if e.errno != errno.EINVAL:
            raise
    finally:
        os.close(descriptor)
