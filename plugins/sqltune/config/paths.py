"""Where the project's data files are."""

from __future__ import annotations

from pathlib import Path

from sqltune.environment import setting

_INCLUDE = Path(__file__).resolve().parents[3] / "include"

CONFIGS = Path(setting("SQLTUNE_CONFIGS", str(_INCLUDE / "configs")))
"""Clusters, recipes, xtuner configs, suites and the gate's rules."""

NODE_FILES = _INCLUDE / "node"
"""What is copied to the hosts."""
