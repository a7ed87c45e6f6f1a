"""Copy files from one host to another through this process: the hosts need no keys for each other."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from ssh_gang.commands import path
from ssh_gang.errors import HostError
from ssh_gang.model import GangHost
from ssh_gang.ssh import ERROR_TAIL, as_bytes, bash, connected

HASH_SECONDS = 1800
"""Seconds that the hashes of one copy may take: shards are tens of gigabytes."""

AGAIN = "clear the task to copy them again"


async def copy(source: GangHost, target: GangHost, folder: str, patterns: Sequence[str] = ("*",)) -> int:
    """Stream files of a folder to the same folder on another host, and compare their hashes.

    Args:
        source: Host that has the files.
        target: Host that gets them.
        folder: The folder on both hosts; created on the target if it is missing.
        patterns: Glob patterns of the file names. The host's shell expands them unquoted, so they must come
            from this code.

    Returns:
        The number of files copied.

    Raises:
        HostError: A host cannot be reached, a connection was lost, no file matches, the target cannot be
            written, or the hashes differ.
    """
    quoted = path(folder)
    async with (
        connected(source.name, source.conn_id) as reader,
        connected(target.name, target.conn_id) as writer,
    ):
        await bash(writer, f"mkdir -p {quoted}", 60)
        hashes = (
            await bash(reader, f"cd {quoted} && sha256sum -- {' '.join(patterns)}", HASH_SECONDS)
        ).decode()
        names = [line.split("  ", 1)[1] for line in hashes.splitlines()]
        tar = f"tar cf - -C {quoted} -- {shlex.join(names)}"
        async with reader.create_process(tar, encoding=None) as packed:
            unpacked = await writer.run(f"tar xf - -C {quoted}", stdin=packed.stdout, encoding=None)
        for host, connection in ((source, reader), (target, writer)):
            # What tar says then, if anything, is about the end of its input.
            if connection.is_closed():
                raise HostError(f"{host.name}: the connection was lost while files were copied: {AGAIN}")
        if unpacked.exit_status != 0:
            reason = as_bytes(unpacked.stderr).decode(errors="replace").strip()[-ERROR_TAIL:]
            raise HostError(
                f"{target.name}: the files of {source.name} cannot be written to {folder} "
                f"({reason or 'tar was ended by a signal'}): make room there, then clear the task"
            )
        check = f"cd {quoted} && sha256sum --check --quiet - <<'END'\n{hashes}END\n"
        try:
            await bash(writer, check, HASH_SECONDS)
        except HostError as e:
            raise HostError(
                f"files of {source.name} arrived damaged in {folder} on {target.name} ({e}): {AGAIN}"
            ) from e
    return len(names)
