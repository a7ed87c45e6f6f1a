"""Whole logs in blocks: writing a block twice stores it once, and nothing is ever appended to.

    <store>/<run>/<log>/<offset>-<length>

The store is SQLTUNE_LOG_STORE: a folder, or any address that fsspec knows, such as `s3://bucket/folder` (with
s3fs installed). With a connection, `s3://conn_id@bucket/folder`, Airflow's provider for that scheme signs in;
without one, fsspec reads its own environment variables.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sqltune import durable_files
from sqltune.records.errors import LogStoreError
from sqltune.records.settings import log_store_address

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from fsspec import AbstractFileSystem

BLOCK = 8 * 1024 * 1024
"""Bytes of a block that `compact` makes of small ones."""
CHECK = "check"
"""Log that `plan` writes first: a machine whose store lacks it has another one than the machine of `plan`."""


@dataclass(frozen=True, order=True)
class Block:
    """A piece of a log."""

    offset: int
    """Bytes of the log before it."""
    length: int
    """Bytes."""

    @property
    def end(self) -> int:
        """Offset of the byte after it."""
        return self.offset + self.length

    @property
    def name(self) -> str:
        """Its file name: two writers of the same bytes write the same file."""
        return f"{self.offset:016d}-{self.length}"

    @classmethod
    def parse(cls, name: str) -> Block:
        """Return the block that a file name denotes."""
        offset, _, length = name.partition("-")
        return cls(int(offset), int(length))


def check_log_store(run_key: str) -> None:
    """Write a block of a run's logs, before anything is started that would wait for a store that never works.

    Raises:
        LogStoreError: The store cannot be written; the message says why and what to do.
    """
    address = log_store_address()
    try:
        LogStore(address).write(run_key, CHECK, 0, b"The log store can be written.\n")
    except Exception as e:  # each kind of object storage has exceptions of its own
        raise LogStoreError(
            f"SQLTUNE_LOG_STORE: {address} cannot be written ({type(e).__name__}: {e}). Correct the address "
            "or its credentials, or make room, then clear this task"
        ) from e


def require_log_store_of(run_key: str) -> None:
    """Check that this machine's log store is the one that the run's `plan` has written to.

    An address says too little: the same folder on two machines may be two folders.

    Raises:
        LogStoreError: The store has nothing of that run.
        Exception: The store cannot be read; each kind of object storage has exceptions of its own.
    """
    store = LogStore()
    if not store.size(run_key, CHECK):
        raise LogStoreError(
            f"SQLTUNE_LOG_STORE: {store.address} on {socket.gethostname()} is not the log store that this "
            f"run was planned with (it has no log {run_key}/{CHECK}): all machines must share one"
        )


class LogStore:
    """Whole logs of all runs.

    Args:
        address: A folder or an fsspec address; by default SQLTUNE_LOG_STORE.
    """

    def __init__(self, address: str | None = None) -> None:
        self.address = (address or log_store_address()).rstrip("/")
        self._fs, self._root = _open(self.address)

    def write(self, run_key: str, log: str, offset: int, data: bytes) -> None:
        """Write bytes where they belong in a log; when this returns, they survive a power cut.

        The host removes what it has been told is recorded. An object store answers once an object is safe; a
        file must be synced.

        Args:
            run_key: The run.
            log: Name of the log.
            offset: Bytes of the log before them.
            data: The bytes.

        Raises:
            OSError: The store can't be written.
        """
        if not data:
            return
        folder = self._folder(run_key, log)
        path = f"{folder}/{Block(offset, len(data)).name}"
        if _is_local(self._fs):
            durable_files.write(Path(path), data)
        else:
            self._fs.makedirs(folder, exist_ok=True)
            self._fs.pipe_file(path, data)

    def read(self, run_key: str, log: str, start: int = 0, end: int | None = None) -> bytes:
        """Return the bytes of a log from `start` up to `end`; a gap is named in their place.

        Args:
            run_key: The run.
            log: Name of the log.
            start: Offset of the first byte.
            end: Offset after the last byte; None for all that is there.
        """
        return self._join(run_key, log, self._blocks(run_key, log), start, end)

    def tail(self, run_key: str, log: str, size: int) -> tuple[int, bytes]:
        """Return the offset after the last byte of a log, and its last bytes.

        Args:
            run_key: The run.
            log: Name of the log.
            size: How many bytes of its end, at most.
        """
        blocks = self._blocks(run_key, log)
        end = max((block.end for block in blocks), default=0)
        return end, self._join(run_key, log, blocks, max(0, end - size), None)

    def names(self, run_key: str) -> list[str]:
        """Return the names of a run's logs."""
        return sorted(name for name in self._list(f"{self._root}/{run_key}"))

    def runs(self) -> list[str]:
        """Return the keys of the runs that have logs."""
        return sorted(self._list(self._root))

    def remove(self, run_key: str) -> None:
        """Remove all logs of a run."""
        self._fs.rm(f"{self._root}/{run_key}", recursive=True)

    def total_size(self) -> int:
        """Return the bytes of all logs; it looks at every block."""
        self._fs.invalidate_cache()
        if not self._fs.exists(self._root):
            return 0
        # Not fsspec's `du`: it asks for each file again, and some are gone by then while logs are written.
        return sum(file["size"] for file in self._fs.find(self._root, detail=True).values())

    @property
    def folder(self) -> Path | None:
        """The store where it is a folder; None for object storage."""
        return Path(self._root) if _is_local(self._fs) else None

    def size(self, run_key: str, log: str) -> int:
        """Return the offset after the last byte of a log; 0 for a log that does not exist."""
        return max((block.end for block in self._blocks(run_key, log)), default=0)

    def compact(self, run_key: str, log: str) -> None:
        """Join small blocks that follow each other to large ones: a log line by line would be many files."""
        for group in _groups(self._blocks(run_key, log)):
            start, end = group[0].offset, max(block.end for block in group)
            joined = Block(start, end - start)
            if len(group) == 1:
                continue
            data = self.read(run_key, log, start, end)
            # A block whose writer died half-way leaves a gap: it is joined when it has been written again.
            if len(data) == joined.length:
                self.write(run_key, log, start, data)
                self._remove(run_key, log, [block for block in group if block != joined])

    def _join(self, run_key: str, log: str, blocks: Sequence[Block], start: int, end: int | None) -> bytes:
        pieces = []
        at = start
        for block in blocks:
            if end is not None and block.offset >= end:
                break
            if block.end <= at:
                continue
            data = self._data(run_key, log, block)
            if data is None:
                continue
            if block.offset > at:
                pieces.append(f"\n[{block.offset - at} bytes are missing here]\n".encode())
                at = block.offset
            pieces.append(data[at - block.offset : None if end is None else end - block.offset])
            at = block.end
        return b"".join(pieces)

    def _remove(self, run_key: str, log: str, blocks: list[Block]) -> None:
        folder = self._folder(run_key, log)
        for block in blocks:
            self._fs.rm_file(f"{folder}/{block.name}")

    def _folder(self, run_key: str, log: str) -> str:
        return f"{self._root}/{run_key}/{log}"

    def _data(self, run_key: str, log: str, block: Block) -> bytes | None:
        """The bytes of a block; None where its writer died half-way, or `compact` has joined it meanwhile."""
        try:
            data: bytes = self._fs.cat_file(f"{self._folder(run_key, log)}/{block.name}")
        except FileNotFoundError:
            return None
        return data if len(data) == block.length else None

    def _blocks(self, run_key: str, log: str) -> list[Block]:
        names = self._list(self._folder(run_key, log))
        return sorted(Block.parse(name) for name in names if not name.startswith(durable_files.TEMPORARY))

    def _list(self, folder: str) -> Iterator[str]:
        # Another process writes: what was listed before says nothing.
        self._fs.invalidate_cache()
        try:
            paths: list[str] = self._fs.ls(folder, detail=False)
        except FileNotFoundError:
            return
        for path in paths:
            yield path.rstrip("/").rpartition("/")[2]


def _groups(blocks: list[Block]) -> list[list[Block]]:
    """Blocks that follow each other or overlap, in groups of at most BLOCK bytes."""
    groups: list[list[Block]] = []
    end = start = 0
    for block in blocks:
        if groups and block.offset <= end and max(end, block.end) - start <= BLOCK:
            groups[-1].append(block)
        else:
            groups.append([block])
            start = block.offset
            end = block.end
        end = max(end, block.end)
    return groups


def _is_local(fs: AbstractFileSystem) -> bool:
    from fsspec.implementations.local import LocalFileSystem

    return isinstance(fs, LocalFileSystem)


def _open(address: str) -> tuple[AbstractFileSystem, str]:
    """The file system of an address, and the path in it."""
    import fsspec

    if "://" not in address:
        return fsspec.filesystem("file"), address
    # It takes seconds to import: only a store other than a folder waits for it.
    from airflow.sdk import ObjectStoragePath

    path = ObjectStoragePath(address)
    return path.fs if path.conn_id else fsspec.filesystem(path.protocol), path.path
