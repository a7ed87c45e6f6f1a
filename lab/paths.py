"""Where the repository, its environments and the lab's state lie. Standard library only."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BASE = Path(os.environ.get("SQLTUNE_LAB_DIR", ROOT / ".lab")).resolve()
"""Environments and base models."""
LAB = Path(os.environ.get("SQLTUNE_LAB_STATE", BASE)).resolve()
"""One lab's hosts, databases, records and logs: the tests have one of their own beside yours."""
CONTROL = BASE / "control-env"
NODE = BASE / "node-env"
MLFLOW = BASE / "mlflow-env"
