"""The result that a script leaves at the end of a gang's log."""

from __future__ import annotations

import json
from typing import Any

from ssh_gang.errors import GangError


def result_of(output: str) -> dict[str, Any]:
    """The value behind the last RESULT of a script's output; `GangError` where there is none."""
    for line in reversed(output.splitlines()):
        if line.startswith("RESULT "):
            return json.loads(line[7:])
    raise GangError(f"the script ended with 0 and left no result; its last words:\n{output[-1500:]}")
