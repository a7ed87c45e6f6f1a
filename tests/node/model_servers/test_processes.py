"""Servers that outlive their supervisor."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from model_servers.processes import end_orphans


@pytest.fixture
def sleeper(request):
    """Starts a process in a folder, and ends it after the test."""
    started: list[subprocess.Popen[bytes]] = []

    def start(folder: Path, **env: str) -> subprocess.Popen[bytes]:
        started.append(subprocess.Popen(["sleep", "60"], cwd=folder, env=os.environ | env))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


def test_a_server_that_its_supervisor_left_behind_is_ended(tmp_path, sleeper):
    orphan = sleeper(tmp_path, SQLTUNE_SERVING="1")
    end_orphans(tmp_path)
    assert orphan.wait(5) == -signal.SIGKILL


def test_a_server_of_another_folder_is_left_alone(tmp_path, sleeper):
    (tmp_path / "elsewhere").mkdir()
    other = sleeper(tmp_path / "elsewhere", SQLTUNE_SERVING="1")
    end_orphans(tmp_path)
    assert other.poll() is None


def test_a_foreign_process_in_the_folder_is_left_alone(tmp_path, sleeper):
    foreign = sleeper(tmp_path)
    end_orphans(tmp_path)
    assert foreign.poll() is None
