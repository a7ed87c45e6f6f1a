"""The layers of the packages: the contracts in pyproject.toml hold."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def test_imports_follow_the_contracts() -> None:
    lint_imports = Path(sys.executable).with_name("lint-imports")
    report = subprocess.run(
        [lint_imports, "--no-cache", "--no-logo"],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": "plugins"},
        capture_output=True,
        text=True,
    )
    assert report.returncode == 0, report.stdout + report.stderr
