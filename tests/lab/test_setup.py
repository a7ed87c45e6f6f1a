"""The environments: what setup writes into them."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from lab import setup


@pytest.fixture
def control(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An environment under a path with a space, with this Python in it."""
    folder = tmp_path / "a clone" / "control-env"
    (folder / "bin").mkdir(parents=True)
    python = folder / "bin" / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    monkeypatch.setattr(setup, "CONTROL", folder)
    return folder


def test_the_sqltune_command_runs_from_any_folder(control: Path, tmp_path: Path) -> None:
    setup.ensure_command()
    answer = subprocess.run(
        [control / "bin/sqltune", "--help"], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert answer.returncode == 0, answer.stderr
    assert "Usage: sqltune [OPTIONS] COMMAND" in answer.stdout


def test_the_sqltune_command_is_written_once(control: Path) -> None:
    setup.ensure_command()
    before = (control / "bin/sqltune").stat().st_mtime_ns
    setup.ensure_command()
    assert (control / "bin/sqltune").stat().st_mtime_ns == before


def test_training_needs_no_library_of_a_desktop(node_python: Path) -> None:
    """The build of OpenCV with windows links against libxcb and libGL, which a bare host lacks."""
    module = next((node_python.parents[1] / "lib").glob("python3*/site-packages/cv2/*.so"))
    linked = subprocess.run(["ldd", module], capture_output=True, text=True, check=True).stdout
    assert "libc.so" in linked
    assert not re.findall(r"lib(?:xcb|X11|GL|glib)\S*", linked)
