"""Our small scripts on the hosts: copied there once per version, run in the node environment, their result read back."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
import json
import logging
import shlex
import tarfile
from typing import Any

from sqltune.config.cluster import Host
from sqltune.config.paths import NODE_FILES
from sqltune.config.plan import Site
from sqltune.errors import DatasetError
from ssh_gang.commands import env_value, path
from ssh_gang.errors import HostError
from ssh_gang.ssh import bash, connected

log = logging.getLogger(__name__)

_SHARED = ("*.py", "sql/*.py", "dataset/*.py")
"""What the scripts use of the package, as patterns below it: its root and two whole folders."""

BAD_DATA = 65
"""EX_DATAERR of sysexits.h: a script's word for "another try will not help"."""


def bundle() -> tuple[str, bytes]:
    """The version and the tar.gz of everything that is copied to the hosts; the same files give the same version."""
    files = {f.name: f.read_bytes() for f in sorted(NODE_FILES.glob("*.py"))}
    plugins = NODE_FILES.parents[1] / "plugins"
    shared = sorted(f for pattern in _SHARED for f in (plugins / "sqltune").glob(pattern))
    files |= {str(f.relative_to(plugins)): f.read_bytes() for f in shared}
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    version = hashlib.sha256(
        b"".join(name.encode() + content for name, content in files.items())
    ).hexdigest()[:12]
    return version, buffer.getvalue()


def exports(site: Site) -> str:
    """Shell text that sets what every process on a host gets."""
    env = site.cluster.host_env() | {"PYTHONPATH": site.code_dir}
    lines = [f"export {k}={env_value(v)}" for k, v in env.items()]
    return "\n".join([*lines, f"export PATH={path(site.cluster.node_env)}/bin:$PATH"]) + "\n"


async def push(site: Site, host: Host) -> None:
    """Copy the scripts to a host; nothing is sent when this version is there."""
    _, content = bundle()
    folder = path(site.code_dir)
    script = f"""\
set -e
[ ! -d {folder} ] || exit 0
mkdir -p {folder}.new && cd {folder}.new
base64 -d <<'END' | tar xz
{base64.encodebytes(content).decode()}END
mv {folder}.new {folder} 2>/dev/null || rm -rf {folder}.new
"""
    async with connected(host.name, host.conn_id, site.cluster.limits.connect) as connection:
        try:
            await bash(connection, script, 60)
        except HostError as e:
            raise HostError(f"{host.name}: can't copy the scripts to {site.code_dir}: {e}") from e


async def run_async(
    site: Site,
    host: Host,
    script: str,
    arguments: list[str],
    timeout: float,
    env: dict[str, str] | None = None,
) -> dict[str, Any]:
    """Run one script on a host, its output to the task's log as it comes; the value behind RESULT. `env` is for secrets, which everybody could read as arguments.

    `DatasetError` when the script says that the data is at fault, `HostError` when it fails otherwise or takes too long.
    """
    command = (
        exports(site)
        + "".join(f"export {k}={env_value(v)}\n" for k, v in (env or {}).items())
        + f"exec timeout --kill-after=20 {int(timeout)} python {path(site.code_dir)}/{script} "
        + " ".join(shlex.quote(a) for a in arguments)
    )
    result: dict[str, Any] = {}
    last: list[str] = []
    async with (
        connected(host.name, host.conn_id, site.cluster.limits.connect) as connection,
        connection.create_process("bash -s", stderr=asyncio.subprocess.STDOUT, errors="replace") as process,
    ):
        process.stdin.write(command + "\n")
        process.stdin.write_eof()
        async for line in process.stdout:
            if line.startswith("RESULT "):
                result = json.loads(line[7:])
            elif line.strip():
                last = [*last[-29:], line.rstrip("\r\n").rpartition("\r")[2]]
                log.info("[%s] %s", host.name, last[-1])
        ended = await process.wait()
    if ended.exit_status == BAD_DATA:
        raise DatasetError(f"{host.name}: " + "\n".join(last[-1:]))
    if ended.exit_status != 0:
        how = (
            f"took longer than {timeout:.0f} s"
            if ended.exit_status == 124
            else f"ended with {ended.exit_status}"
        )
        raise HostError(f"{host.name}: {script} {how}: " + "\n".join(last or ["(it printed nothing)"]))
    return result


def run(
    site: Site,
    host: Host,
    script: str,
    *arguments: str | dict[str, Any],
    timeout: float = 600,
    env: dict[str, str] | None = None,
) -> dict[str, Any]:
    """`run_async` for a task: JSON for dicts; `HostError` with the script's last words when it fails."""
    words = [a if isinstance(a, str) else json.dumps(a) for a in arguments]
    return asyncio.run(run_async(site, host, script, words, timeout, env))
