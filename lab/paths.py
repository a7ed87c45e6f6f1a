"""Where the repository, its environments and the lab's state are. Standard library only."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
"""The repository."""
BASE = Path(os.environ.get("SQLTUNE_LAB_DIR", ROOT / ".lab")).resolve()
"""Environments and base models."""
LAB = Path(os.environ.get("SQLTUNE_LAB_STATE", BASE)).resolve()
"""One lab's hosts, databases, records and logs. The tests use another folder than `make demo`."""
CONTROL = BASE / "control-env"
"""Airflow's virtual environment."""
NODE = BASE / "node-env"
"""The hosts' virtual environment, for training and serving."""
MLFLOW = BASE / "mlflow-env"
"""The virtual environment of MLflow's server."""
