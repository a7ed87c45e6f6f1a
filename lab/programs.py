"""supervisor's configuration: every process of the lab."""

from __future__ import annotations

import os
from pathlib import Path

from lab import network
from lab.airflow_settings import airflow_env
from lab.postgres import not_root, postgres_bin
from lab.settings import CONTROL, DATA, HOSTS, LAB, LOGS, MLFLOW, ROOT, RUN, Settings

AIRFLOW = ("scheduler", "dag-processor", "triggerer")


def _program(
    name: str,
    command: str,
    env: dict[str, str] | None = None,
    priority: int = 50,
    stop: str = "TERM",
    group: bool = True,
) -> str:
    environment = ",".join(f'{k}="{v}"' for k, v in ({"SQLTUNE_LAB_MARK": str(LAB)} | (env or {})).items())
    return f"""
[program:{name}]
command={command.replace("%", "%%")}
directory={ROOT}
autostart=false
autorestart=true
startsecs=1
priority={priority}
stopsignal={stop}
stopasgroup={str(group).lower()}
killasgroup=true
stopwaitsecs=20
redirect_stderr=true
stdout_logfile={LOGS}/{name}.log
stdout_logfile_maxbytes=20MB
stdout_logfile_backups=1
environment={environment.replace("%", "%%")}
"""


def write_config(s: Settings) -> Path:
    """supervisor's configuration for every process of the lab."""
    LOGS.mkdir(parents=True, exist_ok=True)
    RUN.mkdir(mode=0o700, exist_ok=True)
    python = CONTROL / "bin/python"
    env = airflow_env(s)
    programs = [_program(h, network.sshd_command(s, h), priority=10) for h in HOSTS]
    programs.append(
        _program(
            "hub",
            f"{python} -m lab.hub {s.address('')} {s.hub_port}",
            {"SQLTUNE_DATA": str(DATA)},
            priority=10,
        )
    )
    programs.append(_program("glm-stand-in", f"{python} -m lab.glm_stand_in {s.glm_port}", priority=10))
    store = LAB / "mlflow"
    store.mkdir(parents=True, exist_ok=True)
    mlflow = f"{MLFLOW}/bin/mlflow server --host 127.0.0.1 --port {s.mlflow_port} --workers 1 --backend-store-uri sqlite:///{store}/mlflow.db --artifacts-destination {store}/artifacts"
    # Jobs of its own, for judging with language models, would be four processes more.
    programs.append(
        _program(
            "mlflow",
            mlflow,
            {
                "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
                "MLFLOW_DISABLE_TELEMETRY": "true",
                "PATH": f"{MLFLOW}/bin:{os.environ['PATH']}",
            },
            priority=40,
        )
    )
    binaries = postgres_bin()
    if binaries:
        # SIGINT is PostgreSQL's fast shutdown; its children follow it by themselves.
        programs.append(
            _program(
                "postgres",
                not_root(
                    f"{binaries}/postgres -D {LAB}/postgres -k {RUN} -c listen_addresses= -c max_connections=200"
                ),
                priority=20,
                stop="INT",
                group=False,
            )
        )
    for number, component in enumerate(("api-server", *AIRFLOW)):
        programs.append(_program(component, f"{CONTROL}/bin/airflow {component}", env, priority=30 + number))
    config = LAB / "supervisord.conf"
    config.touch(mode=0o600)
    config.write_text(f"""\
[supervisord]
logfile={LOGS}/supervisord.log
pidfile={RUN}/supervisord.pid
childlogdir={LOGS}
[unix_http_server]
file={RUN}/supervisor.sock
chmod=0700
[supervisorctl]
serverurl=unix://{RUN}/supervisor.sock
[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
{"".join(programs)}""")
    return config
