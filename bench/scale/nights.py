"""16 clusters' nights at the same second, in a real Airflow with eight places for tasks.

That is as many as two Celery workers have in docker-compose.yaml; LocalExecutor runs them here, which leaves
out the way through Redis. Each cluster is two hosts with a training of its own; see `nights_dags`.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import yaml
from sqlalchemy import Engine, create_engine, make_url, text

from bench.scale.gangs import started_hosts
from bench.scale.results import report, report_spread
from lab import loopback
from lab.settings import REPO
from sqltune.config.paths import CONFIGS
from tests.chain.revisions_airflow import RECIPE, RevisionsAirflow, revisions_airflow
from tests.changing_hub import ChangingHub
from tests.conftest import serving
from tests.databases import running_postgres
from tests.waiting import wait_until

CLUSTERS = 16
PLACES = 8
"""Tasks at a time: two workers with WORKER_CONCURRENCY, 4 each, of docker-compose.yaml."""
AHEAD = timedelta(seconds=20)
"""From the last trigger to the second at which all runs are due."""
WATCHED_SECONDS = 30
DAG = "text2sql_retrain"
DAGS = Path(__file__).with_name("nights_dags")
AS_SHIPPED = {
    "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "1",
    "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "30",
    "AIRFLOW__SCHEDULER__SCHEDULER_HEARTBEAT_SEC": "5",
    "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "60",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "300",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "10",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_SEC": "0",
    "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT": "600",
    "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "5",
    "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "30",
    "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "30",
}
"""What tests set to short times, as Airflow and docker-compose.yaml have it."""
HEARTBEATS = """
SELECT job_type, extract(epoch FROM now() - latest_heartbeat) FROM job WHERE state = 'running'
UNION ALL
SELECT 'task', extract(epoch FROM now() - coalesce(last_heartbeat_at, start_date))
FROM task_instance WHERE state = 'running'"""
CONNECTIONS = """
SELECT datname, count(*) FROM pg_stat_activity
WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() GROUP BY datname"""


def measure() -> None:
    hub = ChangingHub(REPO)
    hub.push("rows")
    with (
        tempfile.TemporaryDirectory(prefix="sqltune-bench-", ignore_cleanup_errors=True) as folder,
        started_hosts(2 * CLUSTERS) as hosts,
        serving(hub) as hub.url,
        running_postgres() as server,
    ):
        home = Path(folder)
        connections = {name: value for name, value in os.environ.items() if name.startswith("AIRFLOW_CONN_")}
        settings = {
            "AIRFLOW__CORE__DAGS_FOLDER": str(DAGS),
            "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
            "AIRFLOW__CORE__PARALLELISM": str(PLACES),
            "SQLTUNE_CONFIGS": str(_configs(home, hosts)),
        }
        airflow_home = home / "airflow"
        airflow_home.mkdir()
        opened = revisions_airflow(airflow_home, server, hub, {}, **AS_SHIPPED, **connections, **settings)
        with opened as airflow:
            try:
                _measure(airflow, hosts)
            finally:
                # Also after a failure: nothing else ends what runs on the hosts.
                (airflow_home / "go").touch()


def _configs(home: Path, hosts: Sequence[loopback.Sshd]) -> Path:
    """A copy of the shipped files, with a cluster file for each two hosts."""
    configs = Path(shutil.copytree(CONFIGS, home / "configs"))
    cluster = yaml.safe_load((configs / "clusters" / "lab.yaml").read_text())
    for number in range(CLUSTERS):
        first, second = hosts[2 * number : 2 * number + 2]
        members = [{"name": h.name, "conn_id": h.conn_id, "processes": 1} for h in (first, second)]
        own = cluster | {"hosts": members, "serving": cluster["serving"] | {"host": first.name}}
        (configs / "clusters" / f"{_name(number)}.yaml").write_text(yaml.safe_dump(own))
    return configs


def _name(number: int) -> str:
    return f"cluster_{number:02d}"


def _measure(airflow: RevisionsAirflow, hosts: Sequence[loopback.Sshd]) -> None:
    home, env = airflow.components.home, airflow.components.env
    airflow.api.wait_for_dag(DAG)
    airflow.set_paused(DAG, False)
    due = datetime.now(UTC).replace(microsecond=0) + AHEAD
    for number in range(CLUSTERS):
        body = {
            "dag_run_id": f"night_{_name(number)}",
            "logical_date": None,
            "run_after": due.isoformat(),
            "conf": {"cluster": _name(number), "recipe": RECIPE},
        }
        airflow.api.call("POST", f"/dags/{DAG}/dagRuns", json=body).raise_for_status()
    assert datetime.now(UTC) < due, "the triggers took too long"
    engine = create_engine(env["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"])
    starts = [host.home / "trains" for host in hosts]
    with _sampled(engine) as sampled:
        wait_until(
            lambda: all(file.exists() and file.read_text() for file in starts), 200, airflow.runs, pause=0.5
        )
        triggerer = _family(airflow, "triggerer")
        began, cpu = time.monotonic(), _cpu(triggerer)
        time.sleep(WATCHED_SECONDS)
        cores = (_cpu(triggerer) - cpu) / (time.monotonic() - began)
        memory = sum(process.memory_full_info().pss for process in triggerer)
        report("CPU of the triggerer", cores, "cores", gangs=CLUSTERS)
        report("memory of the triggerer", memory / 1e6, "MB", gangs=CLUSTERS)
        (home / "go").touch()
        went = time.monotonic()
        wait_until(lambda: all(r["state"] in ("success", "failed") for r in airflow.runs()), 120, pause=0.5)
        report("from the end of all trainings to the end of all runs", time.monotonic() - went, "s")
    _report_tasks(engine, due, [float(file.read_text()) for file in starts])
    names = {make_url(env[v]).database: n for v, n in DATABASES.items()}
    for (kind, name), most in sorted(sampled.items()):
        report(f"most {kind}", most, "s" if kind == OLDEST else "connections", of=names.get(name, name))
    logs = "".join(file.read_text(errors="replace") for file in home.glob("*.log"))
    for sign in ("without heartbeat", "heartbeat timeout", "was blocked for", "Traceback"):
        report(f"lines with {sign!r} in the components' logs", logs.count(sign), "lines")
    engine.dispose()


DATABASES = {"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": "Airflow's", "SQLTUNE_DATABASE_URL": "the records'"}
OLDEST = "seconds since a heartbeat"


@contextmanager
def _sampled(engine: Engine) -> Iterator[Mapping[tuple[str, str], float]]:
    """Once a second: the age of each heartbeat and the connections to each database; the highest of each."""
    most: dict[tuple[str, str], float] = defaultdict(float)
    stopped = threading.Event()

    def sample() -> None:
        while not stopped.wait(1):
            with engine.connect() as connection:
                for kind, statement in ((OLDEST, HEARTBEATS), ("connections", CONNECTIONS)):
                    for name, value in connection.execute(text(statement)):
                        most[kind, name] = max(most[kind, name], float(value))

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield most
    finally:
        stopped.set()
        thread.join()


def _report_tasks(engine: Engine, due: datetime, starts: Sequence[float]) -> None:
    with engine.connect() as connection:
        rows = connection.execute(
            text("SELECT task_id, state, try_number, start_date FROM task_instance")
        ).all()
        states = connection.execute(text("SELECT state, count(*) FROM dag_run GROUP BY state")).all()
    plans = [(row.start_date - due).total_seconds() for row in rows if row.task_id == "plan"]
    trains = [max(pair) - due.timestamp() for pair in zip(starts[::2], starts[1::2], strict=True)]
    for name, seconds in (("plan starts", plans), ("it trains on both hosts", trains)):
        report_spread(f"from the due second until {name}", seconds, "s", longest=round(max(seconds), 1))
    tried_again = sum(row.try_number > 1 for row in rows)
    failed = sum(row.state != "success" for row in rows)
    report("tasks that did not succeed, or at the second try", failed + tried_again, "tasks", of=len(rows))
    report("runs", sum(n for _, n in states), "runs", states=dict(map(tuple, states)))


def _family(airflow: RevisionsAirflow, component: str) -> list[psutil.Process]:
    process = psutil.Process(airflow.components.running[component].pid)
    return [process, *process.children(recursive=True)]


def _cpu(processes: Sequence[psutil.Process]) -> float:
    return sum(sum(process.cpu_times()[:2]) for process in processes)
