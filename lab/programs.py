"""supervisor's configuration: every process of the lab."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lab import network
from lab.airflow_settings import RECORDS, airflow_env, mark
from lab.postgres import postgres_bin, server_command
from lab.settings import CONTROL, DATA, HOSTS, LAB, LOGS, MLFLOW, ROOT, RUN, Settings
from lab.supervisor import SOCKET

AIRFLOW = ("scheduler", "dag-processor", "triggerer")
"""Airflow's components that start once the api-server answers."""
CONFIG = LAB / "supervisord.conf"
CONFIG_HEAD = f"""\
[supervisord]
logfile={LOGS}/supervisord.log
pidfile={RUN}/supervisord.pid
childlogdir={LOGS}
[unix_http_server]
file={SOCKET}
chmod=0700
[supervisorctl]
serverurl=unix://{SOCKET}
[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
"""


@dataclass(frozen=True, kw_only=True)
class Program:
    """A process of the lab.

    Attributes:
        name: Its name for supervisor, and of its log.
        command: The command line, as a shell reads it.
        env: Variables beside those of supervisor.
        priority: Programs with a smaller one start first and stop last.
        stop_signal: The signal that ends it.
        stop_group: Whether its children get that signal too.
    """

    name: str
    command: str
    env: Mapping[str, str] = field(default_factory=dict)
    priority: int
    stop_signal: str = "TERM"
    stop_group: bool = True

    def section(self) -> str:
        """Its section of supervisord.conf."""
        variables = ",".join(f'{name}="{value}"' for name, value in (mark() | dict(self.env)).items())
        # supervisor expands %(...)s in these two values.
        command, environment = (text.replace("%", "%%") for text in (self.command, variables))
        return f"""
[program:{self.name}]
command={command}
directory={ROOT}
autostart=false
autorestart=true
startsecs=1
priority={self.priority}
stopsignal={self.stop_signal}
stopasgroup={str(self.stop_group).lower()}
killasgroup=true
stopwaitsecs=20
redirect_stderr=true
stdout_logfile={LOGS}/{self.name}.log
stdout_logfile_maxbytes=20MB
stdout_logfile_backups=1
environment={environment}
"""


def _hosts_and_hub(s: Settings) -> list[Program]:
    python = CONTROL / "bin/python"
    return [
        *(Program(name=host, command=network.sshd_command(s, host), priority=10) for host in HOSTS),
        Program(
            name="hub",
            command=f"{python} -m lab.hub {s.address('')} {s.hub_port}",
            env={"SQLTUNE_DATA": str(DATA)},
            priority=10,
        ),
        Program(name="glm-stand-in", command=f"{python} -m lab.glm_stand_in {s.glm_port}", priority=10),
    ]


def _mlflow(s: Settings) -> Program:
    store = LAB / "mlflow"
    store.mkdir(parents=True, exist_ok=True)
    return Program(
        name="mlflow",
        command=f"{MLFLOW}/bin/mlflow server --host 127.0.0.1 --port {s.mlflow_port} --workers 1 "
        f"--backend-store-uri sqlite:///{store}/mlflow.db --artifacts-destination {store}/artifacts",
        env={
            # Its job runners, for evaluation with language models, would be four more processes.
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "PATH": f"{MLFLOW}/bin:{os.environ['PATH']}",
        },
        priority=40,
    )


def _postgres(folder: Path) -> Program:
    # SIGINT is PostgreSQL's fast shutdown; the server ends its children itself.
    command = shlex.join(server_command(folder))
    return Program(name="postgres", command=command, priority=20, stop_signal="INT", stop_group=False)


def _airflow(s: Settings) -> list[Program]:
    """Airflow's components, each with a SQLTUNE_HOME of its own.

    They share the records' database and the log store and nothing else, as on machines of their own.
    """
    env = airflow_env(s)
    return [
        Program(
            name=component,
            command=f"{CONTROL}/bin/airflow {component}",
            env=env | {"SQLTUNE_HOME": f"{RECORDS}/{component}"},
            priority=30 + number,
        )
        for number, component in enumerate(("api-server", *AIRFLOW))
    ]


def write_config(s: Settings) -> Path:
    """Write supervisor's configuration for every process of the lab; return its path."""
    LOGS.mkdir(parents=True, exist_ok=True)
    RUN.mkdir(mode=0o700, exist_ok=True)
    postgres = postgres_bin()
    programs = [
        *_hosts_and_hub(s),
        _mlflow(s),
        *([_postgres(postgres)] if postgres else []),
        *_airflow(s),
    ]
    CONFIG.touch(mode=0o600)
    CONFIG.write_text(CONFIG_HEAD + "".join(program.section() for program in programs))
    return CONFIG
