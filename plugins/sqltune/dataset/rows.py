"""Rows of a file: JSON lines, or one JSON list."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from sqltune.errors import DatasetError

REMEDY = "correct the file, or name another one (of a dataset: another revision)"


def read_rows(files: Iterable[Path]) -> Iterator[Any]:
    """Read every row of JSON-lines files, or of JSON files with one list.

    Raises:
        DatasetError: a file or line is not JSON; the message names it.
    """
    for file in files:
        try:
            text = file.read_text(encoding="utf-8")
        except UnicodeDecodeError as e:
            raise DatasetError(f"{file.name}: not UTF-8 ({e}): {REMEDY}") from e
        yield from _list(file, text) if text.lstrip().startswith("[") else _lines(file, text)


def _list(file: Path, text: str) -> Iterator[Any]:
    try:
        yield from json.loads(text)
    except (json.JSONDecodeError, RecursionError) as e:
        raise DatasetError(f"{file.name}: not a JSON list ({e}): {REMEDY}") from e


def _lines(file: Path, text: str) -> Iterator[Any]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            yield json.loads(line)
        except (json.JSONDecodeError, RecursionError) as e:
            raise DatasetError(f"{file.name} line {number}: not JSON ({e}): {REMEDY}") from e
