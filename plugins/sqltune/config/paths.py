"""Where the project's data files are."""

from __future__ import annotations

import os
from pathlib import Path

_INCLUDE = Path(__file__).resolve().parents[3] / "include"

CONFIGS = Path(os.environ.get("SQLTUNE_CONFIGS", _INCLUDE / "configs"))
"""Clusters, recipes, xtuner configs, suites and the gate's rules."""

NODE_FILES = _INCLUDE / "node"
"""What is copied to the hosts."""
