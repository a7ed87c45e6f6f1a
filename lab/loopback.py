"""Hosts for tests and benchmarks: real sshd processes on loopback ports, each with a home of its own."""

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

from lab.network import make_key
from lab.settings import free_port


@dataclass
class Sshd:
    """One real sshd.

    Attributes:
        name: The host's name.
        folder: Its configuration, keys, log and home.
        port: Where it listens on loopback.
        process: The running sshd; None before it is started.
    """

    name: str
    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def conn_id(self) -> str:
        """Id of its Airflow Connection."""
        return f"test_{self.name}"

    @property
    def address(self) -> str:
        """Where it listens."""
        return "127.0.0.1"

    @property
    def home(self) -> Path:
        """HOME of those who log in."""
        return self.folder / "home"

    def command(self) -> list[str]:
        """The command line that starts it."""
        return [shutil.which("sshd") or "/usr/sbin/sshd", "-D", "-e", "-f", str(self.folder / "sshd_config")]

    def start(self) -> None:
        """Start it, and wait until it listens.

        Raises:
            RuntimeError: it did not listen within 10 s; the message is its log.
        """
        log = self.folder / "log"
        with log.open("ab") as stderr:
            self.process = subprocess.Popen(self.command(), stdout=subprocess.DEVNULL, stderr=stderr)
        deadline = time.monotonic() + 10
        while True:
            try:
                socket.create_connection((self.address, self.port), 0.5).close()
                return
            except OSError:
                if time.monotonic() > deadline:
                    raise RuntimeError(log.read_text()) from None
                time.sleep(0.05)

    def stop(self) -> None:
        """Stop it; open sessions go on."""
        if self.process and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(10)

    def connection(self, keys: Path) -> dict[str, str]:
        """The environment variable that makes it an Airflow Connection, whose host key is checked.

        Args:
            keys: Folder with the login's `key` and `known_hosts`.
        """
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

    def config(self, options: Sequence[str]) -> str:
        """The content of its sshd_config, with further lines at its end."""
        lines = [
            f"Port {self.port}",
            f"ListenAddress {self.address}",
            f"HostKey {self.folder}/host_key",
            "PidFile none",
            f"AuthorizedKeysFile {self.folder}/authorized_keys",
            "StrictModes no",
            "UsePAM no",
            "PasswordAuthentication no",
            "PermitRootLogin prohibit-password",
            f"SetEnv HOME={self.home}",
            *options,
        ]
        return "\n".join(lines) + "\n"


def known_hosts(hosts: Sequence[Sshd]) -> str:
    """The content of a known_hosts file with every host's key."""
    return "".join(f"[{h.address}]:{h.port} {(h.folder / 'host_key.pub').read_text()}" for h in hosts)


def start(folder: Path, names: Sequence[str], options: Sequence[str] = ()) -> list[Sshd]:
    """Start an sshd for each name.

    Args:
        folder: Where keys, homes and `known_hosts` go.
        names: The hosts.
        options: Further lines of their sshd_config.
    """
    if os.geteuid() == 0:
        # sshd's jail before a login; sshd does not start without it.
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    make_key(folder / "key", "test")
    hosts = [_start_one(folder, name, options) for name in names]
    (folder / "known_hosts").write_text(known_hosts(hosts))
    return hosts


def _start_one(folder: Path, name: str, options: Sequence[str]) -> Sshd:
    host = Sshd(name, folder / name, free_port())
    host.home.mkdir(parents=True)
    make_key(host.folder / "host_key", name)
    (host.folder / "authorized_keys").write_text((folder / "key.pub").read_text())
    (host.folder / "sshd_config").write_text(host.config(options))
    host.start()
    return host
