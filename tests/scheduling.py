"""Which tests run beside each other in the processes of pytest-xdist."""

from __future__ import annotations

from xdist.scheduler import LoadScopeScheduling

GANGS = (
    *(f"tests/{folder}/" for folder in ("chain", "hosts", "ssh_gang/shell")),
    "tests/ssh_gang/test_host_watch_held_up.py",
    "tests/ssh_gang/test_watch_outage.py",
)
"""Tests that start gangs: hosts on one machine see each other's processes, and end those of their names."""
NO_GANGS = {"tests/chain/test_revisions.py", "tests/chain/test_revisions_by_hand.py"}
"""Files in these folders that start none."""


class ByFile(LoadScopeScheduling):
    """The tests of a file share its fixtures and stay together; those that start gangs run one by one."""

    def _split_scope(self, nodeid: str) -> str:
        """The scope of a test: what has the same one runs in one process, in order."""
        return scope(nodeid.partition("::")[0])


def scope(file: str) -> str:
    """The scope of the tests of a file."""
    return "gangs" if file.startswith(GANGS) and file not in NO_GANGS else file
