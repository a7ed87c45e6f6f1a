"""What the deployment's tests measure, for the tables in docs/deploy.md: a line of JSON each."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tests.conftest import BASE

FILE = BASE / "engine" / "measured.jsonl"


def note(shape: str, what: str, value: float, details: object = None) -> None:
    """Write a measurement down, and show it.

    Args:
        shape: The deployment, such as `local`.
        what: What was measured, with its unit if not seconds.
        value: The number.
        details: What it is made of.
    """
    line = json.dumps({"shape": shape, "what": what, "value": value, "details": details})
    with FILE.open("a") as file:
        file.write(line + "\n")
    print(line)


@contextmanager
def seconds(shape: str, what: str) -> Iterator[None]:
    """Measure how long a block takes."""
    started = time.monotonic()
    yield
    note(shape, what, round(time.monotonic() - started, 1))
