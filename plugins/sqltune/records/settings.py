"""Where the records are kept: environment variables, and their defaults."""

from __future__ import annotations

from pathlib import Path

from sqltune.environment import secret, setting


def home() -> Path:
    """Return the folder of the default database and log store: SQLTUNE_HOME, else AIRFLOW_HOME/sqltune."""
    airflow = setting("AIRFLOW_HOME", "~/airflow")
    return Path(setting("SQLTUNE_HOME", f"{airflow}/sqltune")).expanduser()


def database_url() -> str:
    """Return the SQLAlchemy URL of the records: SQLTUNE_DATABASE_URL, else a file under `home()`.

    Raises:
        ConfigError: The command in SQLTUNE_DATABASE_URL_CMD fails.
    """
    return secret("SQLTUNE_DATABASE_URL") or f"sqlite:///{home()}/records.db"


def log_store_address() -> str:
    """Return where whole logs are kept: SQLTUNE_LOG_STORE (folder or fsspec URL), else `home()`/logs."""
    return setting("SQLTUNE_LOG_STORE", str(home() / "logs"))
