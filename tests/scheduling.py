"""Which tests run beside each other in the processes of pytest-xdist."""

from __future__ import annotations

from xdist.scheduler import LoadScopeScheduling

GANGS = tuple(f"tests/{folder}/" for folder in ("chain", "hosts", "ssh_gang/shell"))
"""Folders whose tests start gangs: several hosts on one machine see each other's processes."""
NO_GANGS = {"tests/chain/test_revisions.py"}
"""Files there that start none."""


class ByFile(LoadScopeScheduling):
    """The tests of a file share its fixtures and stay together; those that start gangs run one by one."""

    def _split_scope(self, nodeid: str) -> str:
        """The scope of a test: what has the same one runs in one process, in order."""
        file = nodeid.partition("::")[0]
        return "gangs" if file.startswith(GANGS) and file not in NO_GANGS else file
