"""The scripts on the hosts: copied once per version, run in the node environment, responses validated."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
import logging
import shlex
import socket
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sqltune.config.cluster import Host
from sqltune.config.paths import NODE_FILES
from sqltune.config.plan import Site
from sqltune.errors import DatasetError, OtherCode
from sqltune.node_contracts.script import BAD_DATA, NodeScript, RequestT, ResponseT, result_in
from ssh_gang.commands import env_value, path
from ssh_gang.errors import HostError
from ssh_gang.log import LOG_LIMIT, SHOWN_CHARACTERS
from ssh_gang.ssh import bash, connected
from ssh_gang.text import printable

log = logging.getLogger(__name__)

PACKAGE = Path(__file__).resolve().parent
SHARED = ("__init__.py", "durable_files.py", "errors.py", "dataset", "node_contracts", "sql")
"""What the scripts import of this package: folders are copied whole."""
KEPT_LINES = 30
"""Lines of a script's output that an error shows."""
TIMED_OUT, NOT_FOUND = 124, 127
"""Exit statuses of timeout(1), and of a shell that finds no such command."""
KILL_AFTER = 20
"""Seconds between SIGTERM and SIGKILL for a script that takes too long."""
COPY_TIMEOUT = 60
"""Seconds for copying the scripts to a host."""


def bundle() -> tuple[str, bytes]:
    """Everything that is copied to the hosts.

    Returns:
        The version, which depends on names and contents only, and a tar.gz of the files.
    """
    files = _files()
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    named = b"".join(name.encode() + content for name, content in files.items())
    return hashlib.sha256(named).hexdigest()[:12], buffer.getvalue()


def _files() -> dict[str, bytes]:
    """Path in the code folder to content: the folder of scripts, and what they import of this package."""
    scripts = {str(f.relative_to(NODE_FILES)): f for f in NODE_FILES.rglob("*.py")}
    shared = [
        f for name in SHARED for f in ([PACKAGE / name] if "." in name else (PACKAGE / name).rglob("*.py"))
    ]
    sources = scripts | {str(f.relative_to(PACKAGE.parent)): f for f in shared}
    return {name: sources[name].read_bytes() for name in sorted(sources)}


def exports(site: Site) -> str:
    """Shell text that sets the environment of every script on a host."""
    env = site.cluster.host_env() | {"PYTHONPATH": site.code_dir}
    lines = [f"export {k}={env_value(v)}" for k, v in env.items()]
    return "\n".join([*lines, f"export PATH={path(site.cluster.node_env)}/bin:$PATH"]) + "\n"


async def with_own_scripts(site: Site, host: Host) -> Site:
    """The site with the scripts of this machine, which the host then has.

    They are others than the run was planned with where sqltune was upgraded since: a script and the request
    that it is sent must be of one version.

    Raises:
        HostError: The host cannot be reached, or the folder cannot be written.
    """
    version, _ = bundle()
    if version == site.code_version:
        return site
    site = site.model_copy(update={"code_version": version})
    await push(site, host)
    return site


async def push(site: Site, host: Host) -> None:
    """Copy the scripts to a host; nothing is sent when it has this version.

    Raises:
        OtherCode: This machine's scripts are not those of the site.
        HostError: The host cannot be reached, or the folder cannot be written.
    """
    version, content = bundle()
    if version != site.code_version:
        raise OtherCode(
            f"the scripts on {socket.gethostname()} are version {version}, the run was planned with "
            f"{site.code_version}: install one version of sqltune on all machines, then clear the run's "
            "first task"
        )
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
            await bash(connection, script, COPY_TIMEOUT)
        except HostError as e:
            raise HostError(
                f"{host.name}: cannot copy the scripts to {site.code_dir} ({e}): make the cluster's work_dir "
                "writable there"
            ) from e


async def run_async(
    site: Site,
    host: Host,
    script: NodeScript[RequestT, ResponseT],
    request: RequestT,
    time_limit: float,
    env: Mapping[str, str] | None = None,
) -> ResponseT:
    """Run a script on a host; its output goes to the task's log line by line.

    Args:
        site: The cluster; where its scripts are of another version than this machine's, these are copied.
        host: The host.
        script: The script, with its models.
        request: The script's argument.
        time_limit: Seconds until the script is ended.
        env: Secrets for its environment; every user of the host can read arguments.

    Returns:
        The validated response.

    Raises:
        DatasetError: The script found a fault in the data; a retry would end the same way.
        HostError: The script failed otherwise, took too long, or printed no valid result.
    """
    output = _Output(host.name)
    site = await with_own_scripts(site, host)
    async with (
        connected(host.name, host.conn_id, site.cluster.limits.connect) as connection,
        connection.create_process("bash -s", stderr=asyncio.subprocess.STDOUT, errors="replace") as process,
    ):
        process.stdin.write(_command(site, script, request, time_limit, env or {}))
        process.stdin.write_eof()
        async for line in process.stdout:
            output.add(line)
        ended = await process.wait()
    # None: a signal ended it.
    if ended.exit_status != 0:
        raise _failure(
            site, host, script.file, status=ended.exit_status, time_limit=time_limit, last=output.last
        )
    try:
        return script.parse(output.result)
    except ValueError as e:
        raise HostError(f"{host.name}: {e}; its output ends:\n{output.tail}") from e


def run(
    site: Site,
    host: Host,
    script: NodeScript[RequestT, ResponseT],
    request: RequestT,
    time_limit: float = 600,
    env: Mapping[str, str] | None = None,
) -> ResponseT:
    """Blocking form of `run_async`, for tasks."""
    return asyncio.run(run_async(site, host, script, request, time_limit=time_limit, env=env))


@dataclass
class _Output:
    """Logs each line of a script's output; keeps the last lines and the result."""

    host: str
    result: str = ""
    last: list[str] = field(default_factory=list)
    logged: int = 0

    def add(self, line: str) -> None:
        if (result := result_in(line)) is not None:
            self.result = result
        elif line.strip():
            # Of a progress bar, what a terminal would show at the end.
            text = printable(line.rstrip("\r\n").rpartition("\r")[2])[:SHOWN_CHARACTERS]
            self.last = [*self.last[1 - KEPT_LINES :], text]
            self._log(text)

    def _log(self, text: str) -> None:
        if self.logged > LOG_LIMIT:
            return
        self.logged += len(text)
        log.info("[%s] %s", self.host, text)
        if self.logged > LOG_LIMIT:
            log.warning("[%s] more than %.0f MB of log: no more is shown", self.host, LOG_LIMIT / 1e6)

    @property
    def tail(self) -> str:
        return "\n".join(self.last) or "(it printed nothing)"


def _command(
    site: Site,
    script: NodeScript[RequestT, ResponseT],
    request: RequestT,
    time_limit: float,
    env: Mapping[str, str],
) -> str:
    program, file, argument = script.argv(site.code_dir, request)
    secrets = "".join(f"export {k}={env_value(v)}\n" for k, v in env.items())
    limit = f"timeout --kill-after={KILL_AFTER} {int(time_limit)}"
    # One pipe: of two, sshd may send the reason of a script's end before the last lines that it printed.
    return f"exec 2>&1\n{exports(site)}{secrets}exec {limit} {program} {path(file)} {shlex.quote(argument)}\n"


def _failure(
    site: Site, host: Host, script: str, *, status: int | None, time_limit: float, last: list[str]
) -> DatasetError | HostError:
    if status == BAD_DATA:
        return DatasetError(f"{host.name}: " + "\n".join(last[-1:]))
    outcome = {
        TIMED_OUT: f"took longer than {time_limit:.0f} s",
        NOT_FOUND: f"found no Python in {site.cluster.node_env}/bin: run include/node/bootstrap.sh there",
        None: "was ended by a signal",
    }.get(status, f"ended with {status}")
    return HostError(f"{host.name}: {script} {outcome}: " + ("\n".join(last) or "(it printed nothing)"))
