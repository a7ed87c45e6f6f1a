"""Shell commands that are sent to a host: pure functions from a gang to the text of a bash script.

A command is a header of quoted assignments, which this module writes, and a file of `shell/`, which reads
them. On each host a gang has one folder:

| file | content |
|---|---|
| `claim` | attempt, fencing token, generation and spec hash of the attempt that owns the folder |
| `owner` | the task that the gang belongs to |
| `job.sh`, `wrapper.log` | the waiting process, and what it printed itself |
| `start_signal` | a FIFO; the waiting process reads the start signal from it |
| `pid` | process group, start time and boot of the waiting process |
| `started` | time at which the command was started |
| `output` | what the command printed, stdout and stderr |
| `ranks/` | each rank's own output, from torchrun |
| `reports/` | what each rank has reported of itself last (`ranks.py`) |
| `exit` | exit code of the command (or `not_started`, `stopped`, `refused`), and the time |
| `acknowledged` | bytes of output that the watcher has forwarded and recorded |

Times are those of the host's clock. The commands of `prepare_command`, `follow_command` and
`wait_until_free_command` read requests from their input: `interactive_command` says how to send them.
"""

from __future__ import annotations

import functools
import math
import re
import shlex
from collections.abc import Iterable
from pathlib import Path

from ssh_gang.model import Accelerator, Gang, Member

MARKER = "SSH_GANG_MARKER"
"""Variable in the environment of every process of an attempt; its value is `Gang.marker`."""

MAX_FENCING_TOKEN = 2**62
"""Fencing token of a caller that may stop any attempt, such as housekeeping."""

START_SLACK = 60
"""Seconds beyond the prepare limit after which a waiting process without a start signal ends."""

_SHELL = Path(__file__).with_name("shell")
_INCLUDE = re.compile(r"^source (lib/\w+\.sh)$", re.MULTILINE)


def path(text: str) -> str:
    """A path as shell text: quoted, with a leading `~` left to the host's shell."""
    if text == "~":
        return "~"
    return f"~/{shlex.quote(text[2:])}" if text.startswith("~/") else shlex.quote(text)


def env_value(value: str) -> str:
    """A value for `export`; a leading `~/`, and each `~/` after a colon, is the home folder on the host."""
    return ":".join(path(part) if part.startswith("~/") else shlex.quote(part) for part in value.split(":"))


def command_line(member: Member) -> str:
    """A member's command as a person would type it; a leading `~/` is the home folder on the host."""
    return " ".join(path(text) if text.startswith("~/") else shlex.quote(text) for text in member.argv)


def interactive_command(script: str) -> tuple[str, bytes]:
    """Return the command that runs a script whose input stays open, and the bytes to send to it first.

    As an argument a script could be 128 KiB at most. As bash's own input it would be read byte by byte, and
    would swallow the requests that follow it.
    """
    text = script.encode()
    return f"exec bash -c 'eval \"$(head -c {len(text)})\"'", text


def job_script(gang: Gang, member: Member) -> str:
    """The script of the waiting process: wait for the start signal, run the command, record its exit."""
    exports = [f"  export {name}={env_value(value)}" for name, value in member.env.items()]
    if member.path_prefix:
        exports.insert(0, f"  export PATH={path(member.path_prefix)}:$PATH")
    function = "\n".join(["run_command() {", *exports, f"  exec -- {command_line(member)}", "}\n"])
    header = _assignments(
        folder=path(gang.folder),
        work_dir=path(member.cwd),
        wait_seconds=str(_seconds(gang.limits.prepare) + START_SLACK),
        ranks=str(member.ranks),
    )
    return f"#!/usr/bin/env bash\n# {member.host}: {gang.marker}\n" + header + function + _script("job.sh")


def prepare_command(gang: Gang, member: Member, replace: str | None = None) -> str:
    """Claim the folder, check the host, write the files and start the waiting process; then read requests.

    The messages are those of `prepare` in `protocol`. The end of the input cancels the member: the
    process that prepared the host is gone.

    Args:
        gang: The gang.
        member: The gang's part on this host.
        replace: The attempt whose folder may be put aside, with its log; every other owner keeps the folder.
    """
    claim = f"{gang.attempt} {gang.fencing_token} {gang.generation} {gang.spec_hash}"
    owner = " ".join(f"{key}={shlex.quote(value)}" for key, value in gang.owner.items())
    return _assignments(
        root=path(gang.root),
        folder=path(gang.folder),
        name=shlex.quote(gang.name),
        marker=shlex.quote(gang.marker),
        exclusive=str(int(gang.exclusive)),
        claim=shlex.quote(claim),
        owner=shlex.quote(owner),
        replace=shlex.quote(replace or ""),
        prepare_seconds=str(_seconds(gang.limits.prepare)),
        port=str(member.required_port or "''"),
        accelerator=member.accelerator,
        tolerated_gpu_marker=shlex.quote(member.tolerated_gpu_marker or ""),
        work_dir=path(member.cwd),
        file_names=_array(map(shlex.quote, member.files)),
        file_texts=_array(map(shlex.quote, member.files.values())),
        job=shlex.quote(job_script(gang, member)),
    ) + _script("prepare.sh")


def wait_until_free_command(gang: Gang) -> str:
    """Wait until no other exclusive gang runs on this host; ends with its input."""
    return _assignments(name=shlex.quote(gang.name)) + _script("wait_until_free.sh")


def query_state_command(gang: Gang) -> str:
    """Print the state of the gang on this host, once."""
    return _assignments(folder=path(gang.folder)) + _script("query_state.sh")


def follow_command(gang: Gang, member: Member, heartbeat: int = 5, sample: int = 15) -> str:
    """Follow the gang on this host: output that is not acknowledged yet on stdout, messages on stderr.

    Args:
        gang: The gang.
        member: The gang's part on this host.
        heartbeat: Seconds after which the state is reported though nothing has changed.
        sample: Seconds between two samples of the GPUs.
    """
    return _assignments(
        folder=path(gang.folder),
        attempt=shlex.quote(gang.attempt),
        accelerator=member.accelerator,
        heartbeat_seconds=str(heartbeat),
        sample_seconds=str(sample),
    ) + _script("follow.sh")


def tail_command(gang: Gang, rank: int | None = None, lines: int = 30) -> str:
    """Print the last lines of a member's output, or of one rank's."""
    return _assignments(
        folder=path(gang.folder), rank="''" if rank is None else str(rank), lines=str(lines)
    ) + _script("tail.sh")


def free_space_command(gang: Gang, member: Member) -> str:
    """Print the free disk under each folder that a member writes to."""
    return _assignments(folders=_array([path(member.cwd), path(gang.root)])) + _script("free_space.sh")


def mark_refused_command(gang: Gang) -> str:
    """Record that a gang which ended with exit code 0 did not do its work: the next attempt runs it again."""
    return _assignments(folder=path(gang.folder)) + _script("mark_refused.sh")


def stop_command(gang: Gang, attempt: str | None, accelerator: Accelerator = "cpu") -> str:
    """End every process of an attempt, and check until none is left.

    Args:
        gang: The gang; its fencing token decides whether the attempt may be stopped.
        attempt: The attempt to stop; None stops the attempt that owns the folder.
        accelerator: Whose GPUs must be free afterwards.
    """
    return _assignments(
        folder=path(gang.folder),
        name=shlex.quote(gang.name),
        attempt=shlex.quote(attempt or ""),
        fencing_token=str(gang.fencing_token),
        grace_tenths=str(int(gang.limits.grace * 10)),
        accelerator=accelerator,
    ) + _script("stop.sh")


def list_gangs_command(root: str) -> str:
    """Print every gang with a live process on this host, and its owner where its folder is under `root`."""
    return _assignments(root=path(root)) + _script("list_gangs.sh")


def _assignments(**values: str) -> str:
    """The header of a script; each value is shell text that is quoted already."""
    return "".join(f"{name}={value}\n" for name, value in values.items())


def _array(words: Iterable[str]) -> str:
    """A bash array of words that are quoted already."""
    return f"({' '.join(words)})"


def _seconds(limit: float) -> int:
    """A limit in whole seconds, for bash: not below 1."""
    return math.ceil(limit)


@functools.cache
def _script(name: str) -> str:
    """A file of `shell/`, with each `source lib/….sh` replaced by that file."""
    return _INCLUDE.sub(lambda line: _read(line[1]).rstrip(), _read(name))


def _read(name: str) -> str:
    return (_SHELL / name).read_text(encoding="utf-8").removeprefix("# shellcheck shell=bash\n")
