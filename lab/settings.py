"""Where the lab's parts are and listen. Two labs on one machine (two clones) do not interfere."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path

from lab.paths import BASE, CONTROL, LAB, MLFLOW, NODE, ROOT

HOSTS = ("host-a", "host-b")
REPO = "sqltune-lab/text2sql_zh_en"
"""The lab's own dataset on the lab's hub."""
STATE = LAB / "lab.json"
"""The settings of the lab that is up."""
LOGS = LAB / "logs"
DATA = (ROOT / os.environ.get("SQLTUNE_DATA", "../shared/data")).resolve()
"""Where real data may lie: DuSQL's rows for the hub, benchmarks for the form."""
# A socket's path may have 107 bytes, and a clone may lie deep.
RUN = Path(f"/tmp/sqltune-lab-{os.getuid()}-{hashlib.sha256(str(LAB).encode()).hexdigest()[:10]}")
"""Folder of the sockets."""
AIRFLOW_PORT = int(os.environ.get("SQLTUNE_AIRFLOW_PORT", "8080"))


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a lab was started with; kept in .lab/lab.json until the lab is taken down.

    Attributes:
        namespaces: Whether each host is a network namespace; otherwise the hosts are two ports on loopback.
        subnet: N of the hosts' network 10.213.N.0/24; 0 without namespaces.
        airflow_port: Port of Airflow's api-server.
        log_port: Port of the scheduler's log server.
        trigger_log_port: Port of the triggerer's log server.
        hub_port: Port of the dataset hub.
        glm_port: Port of the stand-in for the hosted model.
        ssh_ports: Port of each host's sshd.
        mlflow_port: Port of MLflow's server.
    """

    namespaces: bool
    subnet: int
    airflow_port: int
    log_port: int
    trigger_log_port: int
    hub_port: int
    glm_port: int
    ssh_ports: dict[str, int]
    mlflow_port: int

    @property
    def bridge(self) -> str:
        """Name of the bridge between the hosts."""
        return f"sqt{self.subnet}"

    def namespace(self, host: str) -> str:
        """Name of a host's network namespace."""
        return f"sqt{self.subnet}-{host}"

    def address(self, host: str) -> str:
        """IP address of a host; of this machine for ''."""
        if not self.namespaces:
            return "127.0.0.1"
        return f"10.213.{self.subnet}.{11 + HOSTS.index(host) if host else 1}"

    @property
    def interface(self) -> str:
        """Network interface over which the hosts reach each other."""
        return "eth0" if self.namespaces else "lo"

    @property
    def hub(self) -> str:
        """Address of the dataset hub."""
        return f"http://{self.address('')}:{self.hub_port}"

    @property
    def glm(self) -> str:
        """Address of the stand-in for the hosted model."""
        return f"http://127.0.0.1:{self.glm_port}/api/paas/v4"

    @property
    def airflow_url(self) -> str:
        """Address of Airflow."""
        return f"http://127.0.0.1:{self.airflow_port}"

    @property
    def mlflow(self) -> str:
        """Address of MLflow's server."""
        return f"http://127.0.0.1:{self.mlflow_port}"

    @property
    def endpoint(self) -> str:
        """Address of the served model's API."""
        return f"http://{self.address(HOSTS[0])}:8000/v1"


def free_port(preferred: int = 0) -> int:
    """Find a free port on loopback: `preferred`, or any for 0.

    Raises:
        OSError: `preferred` is taken.
    """
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind(("127.0.0.1", preferred))
        return int(s.getsockname()[1])


def can_make_namespaces() -> bool:
    """Whether this user may make network namespaces; otherwise the hosts are two ports on loopback."""
    if os.geteuid() != 0 or os.environ.get("SQLTUNE_LAB_LOOPBACK") or not shutil.which("ip"):
        return False
    probe = f"sqtprobe{os.getpid()}"
    is_made = subprocess.run(["ip", "netns", "add", probe], capture_output=True, check=False).returncode == 0
    if is_made:
        subprocess.run(["ip", "netns", "delete", probe], capture_output=True, check=False)
    return is_made


def _free_subnet() -> int:
    """N of a 10.213.N.0/24 that no interface uses; where possible the same one each time for one clone."""
    taken = subprocess.run(["ip", "-4", "-o", "addr"], capture_output=True, text=True, check=False).stdout
    first = int(hashlib.sha256(str(LAB).encode()).hexdigest(), 16) % 200
    return next(n for n in ((first + i) % 200 + 20 for i in range(200)) if f" 10.213.{n}." not in taken)


def load() -> Settings | None:
    """Read the settings of a lab that is up, or was up when the machine went down; None if none was."""
    try:
        return Settings(**json.loads(STATE.read_text()))
    except (FileNotFoundError, TypeError, ValueError):
        return None


def choose() -> Settings:
    """Choose and store the settings of a lab that is about to start.

    Raises:
        SystemExit: Airflow's port is taken.
    """
    try:
        free_port(AIRFLOW_PORT)
    except OSError:
        raise SystemExit(
            f"port {AIRFLOW_PORT} is taken, and Airflow needs it: end the process that listens there, "
            "or choose another one: SQLTUNE_AIRFLOW_PORT=8180 make …"
        ) from None
    namespaces = can_make_namespaces()
    settings = Settings(
        namespaces=namespaces,
        subnet=_free_subnet() if namespaces else 0,
        airflow_port=AIRFLOW_PORT,
        log_port=free_port(),
        trigger_log_port=free_port(),
        hub_port=free_port(),
        glm_port=free_port(),
        ssh_ports={host: 22 if namespaces else free_port() for host in HOSTS},
        mlflow_port=free_port(),
    )
    LAB.mkdir(parents=True, exist_ok=True)
    STATE.write_text(json.dumps(asdict(settings), indent=1))
    return settings


__all__ = [
    "AIRFLOW_PORT",
    "BASE",
    "CONTROL",
    "HOSTS",
    "LAB",
    "LOGS",
    "MLFLOW",
    "NODE",
    "REPO",
    "ROOT",
    "RUN",
    "STATE",
    "Settings",
    "choose",
    "load",
]
