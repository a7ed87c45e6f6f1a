"""The result that a script leaves at the end of a gang's log."""

from __future__ import annotations

import json
from typing import Any

from ssh_gang.errors import GangError

MARKER = "RESULT "
SHOWN = 1500
"""Characters of a log that an error message quotes."""


def result_of(output: str) -> dict[str, Any]:
    """The value behind the last RESULT of a script's output.

    Raises:
        GangError: There is none, although the script ended with 0.
    """
    for line in reversed(output.splitlines()):
        if line.startswith(MARKER):
            value: dict[str, Any] = json.loads(line.removeprefix(MARKER))
            return value
    raise GangError(f"the script ended with 0 but left no result; its output ends:\n{end_of(output)}")


def end_of(output: str) -> str:
    """The end of a log, for an error message."""
    return output[-SHOWN:]
