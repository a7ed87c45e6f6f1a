"""Task log and results of `bench/gang.py`: what the systems print is kept apart from what was measured."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from typing import Any, TextIO

log_lines: list[tuple[float, str]] = []
"""Lines of the task log, each with the time at which it arrived."""

_results: TextIO = sys.stdout


def capture_log() -> None:
    """Read from now on what this process prints into `log_lines`; results go on to stdout."""
    global _results
    _results = os.fdopen(os.dup(1), "w", buffering=1)
    read_end, write_end = os.pipe()
    os.dup2(write_end, 1)

    def read() -> None:
        with os.fdopen(read_end, errors="replace") as lines:
            log_lines.extend((time.time(), line) for line in lines)

    threading.Thread(target=read, daemon=True).start()


def report(measure: str, system: str, value: float | None, unit: str, **more: Any) -> None:
    """Print one result as a line of JSON.

    Args:
        measure: What was measured.
        system: With which system.
        value: The result; None where it was not reached.
        unit: Its unit.
        more: Further keys of the line.
    """
    rounded = None if value is None else round(value, 4)
    line = {"measure": measure, "system": system, "value": rounded, "unit": unit, **more}
    print(json.dumps(line), file=_results)
