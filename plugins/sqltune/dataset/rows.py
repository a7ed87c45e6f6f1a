"""Rows of a file: JSON lines, or one JSON list."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from sqltune.errors import DatasetError


def read_rows(files: Iterable[Path]) -> Iterable[Any]:
    """Every row of JSON-lines files, or of JSON files with one list; `DatasetError` names the line that is no JSON."""
    for file in files:
        text = file.read_text(encoding="utf-8")
        if text.lstrip().startswith("["):
            try:
                yield from json.loads(text)
            except json.JSONDecodeError as e:
                raise DatasetError(
                    f"{file.name}: not a JSON list ({e}): mend the dataset, or name another revision"
                ) from e
        else:
            for number, line in enumerate(text.splitlines(), 1):
                if line.strip():
                    try:
                        yield json.loads(line)
                    except json.JSONDecodeError as e:
                        raise DatasetError(
                            f"{file.name} line {number}: not JSON ({e}): mend the dataset, or name another revision"
                        ) from e
