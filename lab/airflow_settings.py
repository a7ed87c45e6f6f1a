"""Airflow's configuration in the lab, as environment variables."""

from __future__ import annotations

import os

from lab.credentials import PASSWORDS, USER, fernet_key, token
from lab.postgres import postgres_bin
from lab.settings import CONTROL, DATA, HOSTS, LAB, NODE, ROOT, RUN, Settings

AIRFLOW_HOME = LAB / "airflow"
RECORDS = LAB / "records"


def airflow_env(s: Settings) -> dict[str, str]:
    """Airflow's configuration, the project's, and what every process of the lab has."""
    return _airflow(s) | _sqltune(s) | _process()


def _airflow(s: Settings) -> dict[str, str]:
    is_postgres = postgres_bin() is not None
    database = (
        f"postgresql+psycopg2://airflow@/airflow?host={RUN}"
        if is_postgres
        else f"sqlite:///{AIRFLOW_HOME}/airflow.db"
    )
    return {
        "AIRFLOW_HOME": str(AIRFLOW_HOME),
        "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(ROOT / "plugins"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        "AIRFLOW__CORE__PARALLELISM": "8",
        "AIRFLOW__CORE__FERNET_KEY": fernet_key(),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": f"{USER}:admin",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(PASSWORDS),
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{s.airflow_url}/execution/",
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": database,
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": str(s.airflow_port),
        "AIRFLOW__API__BASE_URL": s.airflow_url,
        "AIRFLOW__API__WORKERS": "1",
        "AIRFLOW__API__SECRET_KEY": token("api"),
        "AIRFLOW__API_AUTH__JWT_SECRET": token("jwt"),
        # Each pass of the scheduler takes CPU from the training on two cores; each task waits for one.
        "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.5",
        # A DAG that is not read in time is gone until it is read again, and a busy machine reads slowly.
        "AIRFLOW__CORE__DAGBAG_IMPORT_TIMEOUT": "120",
        "AIRFLOW__DAG_PROCESSOR__DAG_FILE_PROCESSOR_TIMEOUT": "180",
        "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "30",
        # Each time that the file is read, the revisions that wait are looked at. The tests wait for none.
        "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": os.environ.get("SQLTUNE_PARSE_SECONDS", "30"),
        "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(s.log_port),
        "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(s.trigger_log_port),
    }


def records_env() -> dict[str, str]:
    """Where the records are: a database of their own in Airflow's PostgreSQL; whole logs in a folder."""
    database = (
        f"postgresql+psycopg2://airflow@/sqltune?host={RUN}"
        if postgres_bin() is not None
        else f"sqlite:///{RECORDS}/records.db"
    )
    return {
        "SQLTUNE_HOME": str(RECORDS),
        "SQLTUNE_DATABASE_URL": database,
        "SQLTUNE_LOG_STORE": str(RECORDS / "logs"),
    }


def _sqltune(s: Settings) -> dict[str, str]:
    """The project's settings, and the variables of the lab's cluster file."""
    api_key = ("SQLTUNE_LAB_API_KEY_ENV", "SQLTUNE_LAB_API_KEY")
    return {
        **records_env(),
        "SQLTUNE_RECIPE": os.environ.get("SQLTUNE_RECIPE", "lab_smollm2"),
        "SQLTUNE_CLUSTER": "lab",
        "SQLTUNE_SCHEDULE": os.environ.get("SQLTUNE_SCHEDULE", "0 2 * * *"),
        "SQLTUNE_LAB_NODE_ENV": str(NODE),
        "SQLTUNE_LAB_INTERFACE": s.interface,
        "SQLTUNE_LAB_HUB": s.hub,
        "SQLTUNE_LAB_SERVING": s.address(HOSTS[0]),
        "SQLTUNE_REFERENCE_PYTHON": str(NODE / "bin/python"),
        "MLFLOW_TRACKING_URI": s.mlflow,
        # Benchmarks in the data folder can be named on the form.
        "SQLTUNE_SUITES": os.environ.get("SQLTUNE_SUITES", str(DATA)),
        **{name: value for name in api_key if (value := os.environ.get(name))},
    }


def _process() -> dict[str, str]:
    return {
        "PATH": f"{CONTROL}/bin:{os.environ['PATH']}",
        "PYTHONUNBUFFERED": "1",
        "OMP_NUM_THREADS": "1",
        **mark(),
        # Airflow's workers and the hub are on this machine.
        "NO_PROXY": "*",
        "no_proxy": "*",
    }


def mark() -> dict[str, str]:
    """The variable that marks every process of this lab, so that those that are left can be found."""
    return {"SQLTUNE_LAB_MARK": str(LAB)}
