"""Where the lab's parts lie and listen. Two labs on one machine (two clones) keep out of each other's way."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path

from lab.paths import BASE, CONTROL, LAB, MLFLOW, NODE, ROOT

HOSTS = ("host-a", "host-b")
REPO = "sqltune-lab/text2sql_zh_en"
STATE = LAB / "lab.json"
DATA = (ROOT / os.environ.get("SQLTUNE_DATA", "../shared/data")).resolve()
"""Where real data may lie: DuSQL's rows for the hub, benchmarks for the form."""
# A socket's path may have 107 bytes, and a clone may lie deep.
RUN = Path(f"/tmp/sqltune-lab-{os.getuid()}-{hashlib.sha256(str(LAB).encode()).hexdigest()[:10]}")
LOGS = LAB / "logs"
AIRFLOW_PORT = int(os.environ.get("SQLTUNE_AIRFLOW_PORT", "8080"))


@dataclass(frozen=True)
class Settings:
    """What this lab was brought up with; kept in .lab/lab.json until it is taken down."""

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
        return f"sqt{self.subnet}"

    def namespace(self, host: str) -> str:
        return f"sqt{self.subnet}-{host}"

    def address(self, host: str) -> str:
        """Where a host is reached; '' is this machine itself."""
        if not self.namespaces:
            return "127.0.0.1"
        return f"10.213.{self.subnet}.{11 + HOSTS.index(host) if host else 1}"

    @property
    def interface(self) -> str:
        return "eth0" if self.namespaces else "lo"

    @property
    def hub(self) -> str:
        return f"http://{self.address('')}:{self.hub_port}"

    @property
    def glm(self) -> str:
        return f"http://127.0.0.1:{self.glm_port}/api/paas/v4"

    @property
    def airflow_url(self) -> str:
        return f"http://127.0.0.1:{self.airflow_port}"

    @property
    def mlflow(self) -> str:
        return f"http://127.0.0.1:{self.mlflow_port}"

    @property
    def endpoint(self) -> str:
        return f"http://{self.address(HOSTS[0])}:8000/v1"


def free_port(preferred: int = 0) -> int:
    """`preferred` if nobody has it, else any free port; OSError when `preferred` is taken."""
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind(("127.0.0.1", preferred))
        return s.getsockname()[1]


def can_make_namespaces() -> bool:
    """Whether this user may make network namespaces: else the hosts are two ports on loopback."""
    if os.geteuid() != 0 or os.environ.get("SQLTUNE_LAB_LOOPBACK"):
        return False
    probe = f"sqtprobe{os.getpid()}"
    made = (
        subprocess.run(["ip", "netns", "add", probe], capture_output=True).returncode == 0
        if _has("ip")
        else False
    )
    if made:
        subprocess.run(["ip", "netns", "delete", probe], capture_output=True)
    return made


def _has(program: str) -> bool:
    from shutil import which

    return which(program) is not None


def _free_subnet() -> int:
    """A 10.213.N.0/24 that no interface has, the same for the same clone where possible."""
    taken = subprocess.run(["ip", "-4", "-o", "addr"], capture_output=True, text=True).stdout
    first = int(hashlib.sha256(str(LAB).encode()).hexdigest(), 16) % 200
    return next(n for n in ((first + i) % 200 + 20 for i in range(200)) if f" 10.213.{n}." not in taken)


def load() -> Settings | None:
    """The settings of a lab that is up, or was when the machine went down."""
    try:
        return Settings(**json.loads(STATE.read_text()))
    except (FileNotFoundError, TypeError, ValueError):
        return None


def choose() -> Settings:
    """Settings for a lab that is brought up; exits when Airflow's port is somebody else's."""
    try:
        free_port(AIRFLOW_PORT)
    except OSError:
        raise SystemExit(
            f"port {AIRFLOW_PORT} is taken, and Airflow wants it: end what listens there, or SQLTUNE_AIRFLOW_PORT=8180 make …"
        ) from None
    namespaces = can_make_namespaces()
    settings = Settings(
        namespaces,
        _free_subnet() if namespaces else 0,
        AIRFLOW_PORT,
        free_port(),
        free_port(),
        free_port(),
        free_port(),
        {h: 22 if namespaces else free_port() for h in HOSTS},
        free_port(),
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
