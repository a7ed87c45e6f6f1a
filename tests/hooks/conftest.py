"""Real sshd on loopback, reached through Airflow Connections."""

from __future__ import annotations

import getpass
import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import free_port


@dataclass
class Sshd:
    """One real sshd."""

    name: str
    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def conn_id(self) -> str:
        return f"test_{self.name}"

    def start(self) -> None:
        sshd = shutil.which("sshd") or "/usr/sbin/sshd"
        self.process = subprocess.Popen([sshd, "-D", "-e", "-f", str(self.folder / "sshd_config")], stdout=subprocess.DEVNULL, stderr=(self.folder / "log").open("ab"))
        deadline = time.monotonic() + 10
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 0.5).close()
                return
            except OSError:
                assert time.monotonic() < deadline, (self.folder / "log").read_text()
                time.sleep(0.05)

    def stop(self) -> None:
        assert self.process
        self.process.terminate()
        self.process.wait(10)


def _keygen(path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)


@pytest.fixture
def sshds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[list[Sshd]]:
    """Hosts: sshd with keys of their own, and Connections that check them. Two, or as many as the test's `hosts` marker says;
    `sshd_options` are lines of their configuration."""
    count = getattr(request.node.get_closest_marker("hosts"), "args", (2,))[0]
    options = "\n".join(getattr(request.node.get_closest_marker("sshd_options"), "args", ()))
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    _keygen(tmp_path / "key")
    found, known = [], ""
    for name in "abcdefghijklmnop"[:count]:
        folder = tmp_path / name
        (folder / "home").mkdir(parents=True)
        _keygen(folder / "host_key")
        (folder / "authorized_keys").write_text((tmp_path / "key.pub").read_text())
        host = Sshd(name, folder, free_port())
        (folder / "sshd_config").write_text(
            f"Port {host.port}\nListenAddress 127.0.0.1\nHostKey {folder}/host_key\nPidFile none\nAuthorizedKeysFile {folder}/authorized_keys\nStrictModes no\n"
            f"UsePAM no\nPasswordAuthentication no\nPermitRootLogin prohibit-password\nSetEnv HOME={folder}/home\n{options}\n"
        )
        known += f"[127.0.0.1]:{host.port} {(folder / 'host_key.pub').read_text()}"
        host.start()
        found.append(host)
    (tmp_path / "known_hosts").write_text(known)
    for host in found:
        extra = {"key_file": str(tmp_path / "key"), "known_hosts": str(tmp_path / "known_hosts")}
        monkeypatch.setenv(f"AIRFLOW_CONN_TEST_{host.name.upper()}", json.dumps({"conn_type": "ssh", "host": "127.0.0.1", "port": host.port, "login": getpass.getuser(), "extra": extra}))
    yield found
    for host in found:
        if host.process and host.process.poll() is None:
            host.stop()
