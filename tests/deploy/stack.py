"""docker-compose.yaml as a user starts it: in a checkout of its own, with two hosts to train on."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import yaml

from lab.airflow_api import Airflow
from tests.conftest import BASE, NODE_PYTHON, ROOT, free_port
from tests.deploy.engine import Engine
from tests.waiting import wait_until

DAG = "text2sql_retrain"
HOSTS = ("host-a", "host-b")
CLUSTERS = ("left", "right")
"""Clusters of one host each, beside the lab's of both."""
PROJECT = "sqltune"
MINE = f"label=com.docker.compose.project={PROJECT}"
"""What the engine knows of the deployment by."""
PASSWORD = "p@ss/w:rd #100%$HOME\"'"
"""Of PostgreSQL and Redis: each of its characters means something to an address, a shell or Compose."""
SUBNET, GATEWAY = "10.213.214.0/24", "10.213.214.1"
"""Of the services' network."""
HUB_PORT = 8090


def address(host: str) -> str:
    """A host's address in the services' network."""
    return f"{SUBNET.removesuffix('0/24')}{101 + HOSTS.index(host)}"


@dataclass
class Stack:
    """A checkout, and the services that its docker-compose.yaml starts.

    Args:
        engine: The engine.
        folder: The checkout.
        settings: Lines of `.env`, by name.
    """

    engine: Engine
    folder: Path
    settings: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.port = free_port()
        self.settings = {
            "AIRFLOW_PORT": str(self.port),
            "MLFLOW_PORT": str(free_port()),
            "COMPOSE_PROJECT_NAME": PROJECT,
            "SQLTUNE_RECIPE": "lab_tiny",
            "SQLTUNE_CLUSTER": "lab",
            # As `.env` writes a text that is taken as it is.
            "POSTGRES_PASSWORD": "'" + PASSWORD.replace("'", "\\'") + "'",
            "REDIS_PASSWORD": "'" + PASSWORD.replace("'", "\\'") + "'",
        } | self.settings

    def check_out(self) -> None:
        """Copy what git knows, make `.env`, and a key for the hosts."""
        self.make(self.settings)
        self.copy_files()
        subprocess.run(["bash", "deploy/fill-env.sh"], cwd=self.folder, check=True)

    def add_clusters(self) -> None:
        """Write a cluster file for each host alone."""
        folder = self.folder / "include/configs/clusters"
        both = yaml.safe_load((folder / "lab.yaml").read_text())
        for name, host in zip(CLUSTERS, both["hosts"], strict=True):
            serving = both["serving"] | {"host": host["name"], "bind": host["name"]}
            one = both | {"hosts": [host], "work_dir": f"~/code/{name}", "serving": serving}
            (folder / f"{name}.yaml").write_text(yaml.safe_dump(one))

    def make(self, settings: Mapping[str, str]) -> None:
        """Make the folder anew, with `.env` and a key for the hosts."""
        shutil.rmtree(self.folder, ignore_errors=True)
        ssh = self.folder / "ssh"
        ssh.mkdir(parents=True)
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", ssh / "id_ed25519"], check=True)
        (self.folder / ".env").write_text("".join(f"{name}={value}\n" for name, value in settings.items()))

    def copy_files(self, commit: str = "") -> None:
        """Copy the files of a commit into the folder; without one, those that git knows or would add."""
        if commit:
            pack, listing = ["git", "archive", commit], b""
        else:
            pack = ["tar", "-c", "--null", "--files-from=-"]
            list_files = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
            listing = subprocess.run(list_files, cwd=ROOT, capture_output=True, check=True).stdout
        archive = subprocess.run(pack, cwd=ROOT, input=listing, capture_output=True, check=True).stdout
        subprocess.run(["tar", "-x"], cwd=self.folder, input=archive, check=True)

    @property
    def secrets(self) -> dict[str, str]:
        """The secrets in `.env`, as they are meant."""
        lines = (self.folder / ".env").read_text().splitlines()
        values = dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))
        ends = ("_PASSWORD", "_KEY", "_SECRET")
        found = {n: v for n, v in values.items() if n.endswith(ends) and v}
        return found | {"POSTGRES_PASSWORD": PASSWORD, "REDIS_PASSWORD": PASSWORD}

    def compose(self, *arguments: str, **options: Any) -> str:
        """Run `docker compose` in the checkout."""
        return self.engine.docker("compose", *arguments, cwd=self.folder, **options)

    def up(self) -> float:
        """Start everything; seconds until all is healthy."""
        started = time.monotonic()
        try:
            self.compose("up", "--detach", "--wait", "--wait-timeout", "240")
        except AssertionError as e:
            raise AssertionError(f"{e}\n{self.compose('logs', '--no-color', '--tail', '40')}") from None
        code = self.engine.docker(
            "inspect", "--format", "{{.State.ExitCode}}", self.container("init")
        ).strip()
        assert code == "0", self.compose("logs", "--no-color", "init")[-3000:]
        return time.monotonic() - started

    def down(self) -> None:
        """Stop everything, and remove its data."""
        subprocess.run(["docker", "rm", "-f", *HOSTS], env=self.engine.env, capture_output=True, check=False)
        if running := self.engine.docker("ps", "--quiet", "--filter", MINE).split():
            self.engine.docker("stop", "--time", "5", *running)
        self._forget_endpoints()
        # Where there is no Compose file, by the project's labels: also what another version has made.
        self.engine.docker("compose", "--project-name", PROJECT, "down", "--volumes", cwd=Path("/"))

    def _forget_endpoints(self) -> None:
        """Remove from the network what is left in it after its containers have stopped.

        Docker 20.10 may keep the endpoint of a container that was disconnected while it ran, and then refuses
        to remove the network.
        """
        for network in self.engine.docker("network", "ls", "--quiet", "--filter", MINE).split():
            names = "{{range .Containers}}{{.Name}} {{end}}"
            for name in self.engine.docker("network", "inspect", "--format", names, network).split():
                self.engine.docker("network", "disconnect", "--force", network, name)

    @property
    def url(self) -> str:
        """Where Airflow listens on this machine."""
        return f"http://127.0.0.1:{self.port}{self.settings.get('BASE_PATH', '')}"

    def log_in(self) -> Airflow:
        """A client of Airflow's REST API, as the first user."""
        return Airflow(self.url, "admin", self.secrets["ADMIN_PASSWORD"])

    def start_hosts(self, put_connection: Callable[[Mapping[str, object]], None]) -> None:
        """Start two hosts in the services' network, and make a Connection of each."""
        python = NODE_PYTHON.resolve().parents[1]
        node = BASE / "node-env"
        for host in HOSTS:
            # A training takes a lock there.
            own = self.folder / f"{host}-torch_extensions"
            shutil.copytree(node / "torch_extensions", own)
            self.engine.docker(
                *(
                    "run",
                    "--detach",
                    "--restart",
                    "unless-stopped",
                    "--name",
                    host,
                    "--hostname",
                    host,
                    "--network",
                    f"{PROJECT}_default",
                ),
                # A real host keeps its address when it reboots.
                *("--ip", address(host)),
                *("--volume", f"{python}:{python}:ro", "--volume", f"{node}:{node}:ro", "--shm-size", "1g"),
                *(
                    "--volume",
                    f"{own}:{node}/torch_extensions",
                    "--volume",
                    f"{BASE / 'models'}:/models:ro",
                ),
                *("--init", "sqltune-gpu-host"),
            )
            authorize = "umask 077; mkdir ~/.ssh; cat >~/.ssh/authorized_keys; ln -s /models ~/models"
            with (self.folder / "ssh/id_ed25519.pub").open() as key:
                self.engine.docker("exec", "--interactive", host, "sh", "-c", authorize, stdin=key)
        known = "".join(
            f"{host} {self.engine.docker('exec', host, 'cat', '/etc/ssh/ssh_host_ed25519_key.pub')}"
            for host in HOSTS
        )
        (self.folder / "ssh/known_hosts").write_text(known)
        for path in (self.folder / "ssh", *(self.folder / "ssh").iterdir()):
            os.chown(path, 1000, 1000)
        extra = {"key_file": "/opt/sqltune/ssh/id_ed25519", "known_hosts": "/opt/sqltune/ssh/known_hosts"}
        for host in HOSTS:
            put_connection(
                {
                    "connection_id": f"sqltune_lab_{host[-1]}",
                    "conn_type": "ssh",
                    "host": host,
                    "login": "root",
                    "extra": json.dumps(extra),
                }
            )

    def query(self, statement: str) -> str:
        """What a query of the records' database answers: a line for each row, with | between columns."""
        psql = ("psql", "--username=airflow", "--dbname=sqltune", "--tuples-only", "--no-align")
        command = (*psql, "--command", statement)
        return self.engine.docker("exec", "--user", "postgres", self.container("postgres"), *command).strip()

    def container(self, service: str, number: int = 1) -> str:
        """Name of a service's container."""
        return f"{PROJECT}-{service}-{number}"

    def kill(self, container: str) -> None:
        """Kill a container's first process, as the kernel does when memory runs out.

        `docker kill` would count as stopped by hand: the engine would not start it again.
        """
        os.kill(self.pid(container), signal.SIGKILL)

    def pid(self, container: str) -> int:
        """A container's first process, as this machine sees it; 0 while there is none."""
        return int(self.engine.docker("inspect", "--format", "{{.State.Pid}}", container))

    def memory(self) -> dict[str, float]:
        """MiB that each container uses, without the page cache."""
        lines = self.engine.docker("stats", "--no-stream", "--format", "{{.Name}} {{.MemUsage}}").splitlines()
        units = {"KiB": 1 / 1024, "MiB": 1.0, "GiB": 1024.0}
        found = {}
        for line in lines:
            name, used = line.split()[:2]
            found[name] = float(used[:-3]) * units[used[-3:]]
        return found


@contextmanager
def serve_hub(address: str) -> Iterator[None]:
    """Serve the lab's dataset hub on an address of this machine for the length of a block."""
    hub = subprocess.Popen(
        [BASE / "control-env/bin/python", "-m", "lab.hub", address, str(HUB_PORT)],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        wait_until(lambda: _answers(address), 40)
        yield
    finally:
        hub.terminate()
        hub.wait(30)


def _answers(address: str) -> bool:
    try:
        return httpx.get(f"http://{address}:{HUB_PORT}/", trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False
