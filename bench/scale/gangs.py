"""Hosts and gangs of the measures `wide` and `many`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lab import loopback
from ssh_gang.model import Gang, Limits, Member
from ssh_gang.recorder import RecorderRef


@contextmanager
def started_hosts(count: int) -> Iterator[list[loopback.Sshd]]:
    """Hosts with their Connections; the limits of sshd are not what is measured."""
    with tempfile.TemporaryDirectory(prefix="sqltune-bench-", ignore_cleanup_errors=True) as folder:
        names = [f"h{number:02d}" for number in range(count)]
        hosts = loopback.start(Path(folder), names, ["MaxStartups 400", "MaxSessions 100"])
        for host in hosts:
            os.environ.update(host.connection(Path(folder)))
        try:
            yield hosts
        finally:
            for host in hosts:
                host.stop()


def gang_of(hosts: Sequence[loopback.Sshd], argv: list[str], **fields: Any) -> Gang:
    """A gang that runs one command on hosts."""
    members = [Member(host=h.name, conn_id=h.conn_id, argv=argv, cwd=f"{h.folder}/work") for h in hosts]
    return Gang(
        name=f"bench.{uuid.uuid4().hex[:8]}",
        attempt="try1",
        root="~/gangs",
        members=members,
        limits=Limits(grace=5),
        **fields,
    )


def watched_elsewhere(
    gangs: Sequence[Gang], seconds: float, recorders: Sequence[RecorderRef] = ()
) -> dict[str, Any]:
    """What a new process found that watched gangs which run; see `bench.scale.watcher`.

    Args:
        gangs: The gangs.
        seconds: How long to measure once all of them are watched.
        recorders: What records each; none records nothing.
    """
    order = {
        "gangs": [gang.model_dump(mode="json") for gang in gangs],
        "recorders": [ref.model_dump(mode="json") for ref in recorders] or [None] * len(gangs),
        "seconds": seconds,
    }
    done = subprocess.run(
        # Not with -m: the recorders are imported by the module's own name.
        [sys.executable, "-c", "from bench.scale.watcher import main; main()"],
        input=json.dumps(order),
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": ":".join(sys.path[:2])},
        text=True,
        check=True,
    )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found
