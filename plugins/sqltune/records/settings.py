"""Where the records are kept: environment variables, and their defaults."""

from __future__ import annotations

import os
from pathlib import Path


def home() -> Path:
    """Return the folder of the default database and log store: SQLTUNE_HOME, else AIRFLOW_HOME/sqltune."""
    airflow = os.environ.get("AIRFLOW_HOME", "~/airflow")
    return Path(os.environ.get("SQLTUNE_HOME", f"{airflow}/sqltune")).expanduser()


def database_url() -> str:
    """Return the SQLAlchemy URL of the records: SQLTUNE_DATABASE_URL, else a SQLite file under `home()`."""
    return os.environ.get("SQLTUNE_DATABASE_URL") or f"sqlite:///{home()}/records.db"


def log_store_address() -> str:
    """Return where whole logs are kept: SQLTUNE_LOG_STORE (folder or fsspec URL), else `home()`/logs."""
    return os.environ.get("SQLTUNE_LOG_STORE") or str(home() / "logs")
