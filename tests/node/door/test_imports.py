"""What the door imports."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import front_door
from model_servers.stack import _SCRIPTS, _copy


def test_a_copy_of_the_door_runs_alone(tmp_path):
    """It lies beside the servers, whatever version of the code is used next."""
    for script in _SCRIPTS:
        _copy(Path(front_door.__file__).parent / script, tmp_path / script)
    code = "import sys; sys.path.insert(0, sys.argv[1]); import front_door; print(front_door.__file__)"
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert done.stdout.strip() == str(tmp_path / "front_door.py")
