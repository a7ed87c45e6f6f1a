"""How the project recognises its own processes on a host."""

from __future__ import annotations

import marks
from ssh_gang.commands import MARKER


def test_gangs_are_recognised_by_the_variable_that_they_are_started_with():
    assert marks.GANG == MARKER
