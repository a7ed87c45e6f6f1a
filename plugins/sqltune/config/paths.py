"""Where the data files of the project are."""

from __future__ import annotations

import os
from pathlib import Path

CONFIGS = Path(os.environ.get("SQLTUNE_CONFIGS", Path(__file__).resolve().parents[3] / "include" / "configs"))
"""Where clusters, recipes, xtuner configs and regression suites lie."""

NODE_FILES = Path(__file__).resolve().parents[3] / "include" / "node"
"""What is copied to the hosts."""
