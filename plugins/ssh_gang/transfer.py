"""Files from one host to another, through this process: the hosts need no keys for each other."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from ssh_gang.commands import path
from ssh_gang.errors import HostError
from ssh_gang.model import GangHost
from ssh_gang.ssh import bash, connected


async def copy(source: GangHost, target: GangHost, folder: str, patterns: Sequence[str] = ("*",)) -> int:
    """Stream the files of a folder that match to the same folder on another host, hashes compared; how many. `HostError` when they differ."""
    there = path(folder)
    async with connected(source.name, source.conn_id) as out, connected(target.name, target.conn_id) as into:
        await bash(into, f"mkdir -p {there}", 60)
        # The patterns are ours; what they match is quoted by the shell that matches.
        sums = await bash(out, f"cd {there} && sha256sum -- {' '.join(patterns)}", 1800)
        names = [line.split("  ", 1)[1] for line in sums.decode().splitlines()]
        async with out.create_process(f"tar cf - -C {there} -- {shlex.join(names)}", encoding=None) as packed:
            await into.run(f"tar xf - -C {there}", stdin=packed.stdout, encoding=None, check=True)
        try:
            await bash(into, f"cd {there} && sha256sum --check --quiet - <<'END'\n{sums.decode()}END\n", 1800)
        except HostError as e:
            raise HostError(f"files of {source.name} arrived damaged on {target.name}: {e}") from e
    return len(names)
