"""Hosts for tests and benchmarks: real sshd's on loopback ports, each with a home of its own."""

from __future__ import annotations

import getpass
import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lab.settings import free_port


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

    @property
    def address(self) -> str:
        return "127.0.0.1"

    @property
    def home(self) -> Path:
        return self.folder / "home"

    def command(self) -> list[str]:
        """How it is started."""
        return [shutil.which("sshd") or "/usr/sbin/sshd", "-D", "-e", "-f", str(self.folder / "sshd_config")]

    def start(self) -> None:
        """Start it, and wait until it listens."""
        self.process = subprocess.Popen(
            self.command(), stdout=subprocess.DEVNULL, stderr=(self.folder / "log").open("ab")
        )
        deadline = time.monotonic() + 10
        while True:
            try:
                socket.create_connection((self.address, self.port), 0.5).close()
                return
            except OSError:
                if time.monotonic() > deadline:
                    raise RuntimeError((self.folder / "log").read_text()) from None
                time.sleep(0.05)

    def stop(self) -> None:
        """End it; sessions that are open live on."""
        if self.process and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(10)

    def connection(self, keys: Path) -> dict[str, str]:
        """The variable that makes it an Airflow Connection, whose host key is checked."""
        extra = {
            "key_file": str(keys / "key"),
            "known_hosts": str(keys / "known_hosts"),
            "no_host_key_check": False,
        }
        value = {
            "conn_type": "ssh",
            "host": self.address,
            "port": self.port,
            "login": getpass.getuser(),
            "extra": extra,
        }
        return {f"AIRFLOW_CONN_{self.conn_id.upper()}": json.dumps(value)}


def _keygen(path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)


def known_hosts(hosts: Sequence[Sshd]) -> str:
    """The file that names every host's key."""
    return "".join(f"[{h.address}]:{h.port} {(h.folder / 'host_key.pub').read_text()}" for h in hosts)


def start(folder: Path, names: Sequence[str], options: Sequence[str] = ()) -> list[Sshd]:
    """Start an sshd for each name, with keys, homes and `known_hosts` under a folder; `options` are lines of their configuration."""
    if os.geteuid() == 0:
        # sshd's own jail before a login; it refuses to start without.
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    _keygen(folder / "key")
    found = []
    for name in names:
        host = Sshd(name, folder / name, free_port())
        host.home.mkdir(parents=True)
        _keygen(host.folder / "host_key")
        (host.folder / "authorized_keys").write_text((folder / "key.pub").read_text())
        lines = [
            f"Port {host.port}",
            f"ListenAddress {host.address}",
            f"HostKey {host.folder}/host_key",
            "PidFile none",
            f"AuthorizedKeysFile {host.folder}/authorized_keys",
            "StrictModes no",
            "UsePAM no",
            "PasswordAuthentication no",
            "PermitRootLogin prohibit-password",
            f"SetEnv HOME={host.home}",
            *options,
        ]
        (host.folder / "sshd_config").write_text("\n".join(lines) + "\n")
        host.start()
        found.append(host)
    (folder / "known_hosts").write_text(known_hosts(found))
    return found
