"""Tests that start gangs never run beside each other: one would end the processes of the other."""

from __future__ import annotations

import pytest

from tests.conftest import ROOT
from tests.scheduling import scope

STARTS_GANGS = ("tests.ssh_gang.local_host import", "pytest.mark.hosts(", "sshds)", "sshds,")


@pytest.mark.parametrize(
    "file",
    [
        path.relative_to(ROOT).as_posix()
        for path in sorted((ROOT / "tests").rglob("test_*.py"))
        if path.name != "test_scheduling.py" and any(sign in path.read_text() for sign in STARTS_GANGS)
    ],
)
def test_files_that_start_gangs_share_a_scope(file):
    assert scope(file) == "gangs"
