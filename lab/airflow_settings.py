"""Airflow's configuration in the lab."""

from __future__ import annotations

import os

from lab.credentials import USER, secret
from lab.postgres import postgres_bin
from lab.settings import CONTROL, DATA, HOSTS, LAB, NODE, ROOT, RUN, Settings

AIRFLOW_HOME = LAB / "airflow"


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
        "AIRFLOW__CORE__FERNET_KEY": secret("fernet"),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": f"{USER}:admin",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(LAB / "secrets" / "passwords.json"),
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{s.airflow_url}/execution/",
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": database,
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": str(s.airflow_port),
        "AIRFLOW__API__BASE_URL": s.airflow_url,
        "AIRFLOW__API__WORKERS": "1",
        "AIRFLOW__API__SECRET_KEY": secret("api"),
        "AIRFLOW__API_AUTH__JWT_SECRET": secret("jwt"),
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
