"""Real sshd on loopback, reached through Airflow Connections."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import loopback


@pytest.fixture
def sshds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[list[loopback.Sshd]]:
    """Hosts: each an sshd with a key of its own, and a Connection that checks it.

    Two, or as many as the test's `hosts` marker says; `sshd_options` are lines of their configuration.
    """
    count = getattr(request.node.get_closest_marker("hosts"), "args", (2,))[0]
    options = getattr(request.node.get_closest_marker("sshd_options"), "args", ())
    hosts = loopback.start(tmp_path, "abcdefghijklmnop"[:count], options)
    for host in hosts:
        for name, value in host.connection(tmp_path).items():
            monkeypatch.setenv(name, value)
    yield hosts
    for host in hosts:
        host.stop()
