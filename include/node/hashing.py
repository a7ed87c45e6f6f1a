"""Hashes that name models and files."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

_END = 1 << 20
"""Bytes that are read at a time, and at each end of a large file."""


def file_hash(path: Path) -> str:
    """SHA-256 of a whole file."""
    hasher = hashlib.sha256()
    # Not `hashlib.file_digest`: `python -m bench.gpu` also runs on Python 3.10.
    with path.open("rb") as f:
        while block := f.read(_END):
            hasher.update(block)
    return hasher.hexdigest()


def folder_hash(folder: Path) -> str:
    """A short hash of a model's files: names and sizes of all, small files whole, large ones by both ends."""
    hasher = hashlib.sha256()
    for file in sorted(p for p in folder.rglob("*") if p.is_file()):
        size = file.stat().st_size
        hasher.update(f"{file.relative_to(folder)}\0{size}\0".encode())
        with file.open("rb") as f:
            hasher.update(f.read(_END))
            if size > 2 * _END:
                f.seek(-_END, os.SEEK_END)
                hasher.update(f.read())
    return hasher.hexdigest()[:16]
