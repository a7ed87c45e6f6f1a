"""What the configuration models share: types of the values that reach a command line, and a hash."""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any

from pydantic import AfterValidator, StringConstraints

from ssh_gang.model import HostName, HostPath


def _leads_nowhere_else(path: str) -> str:
    if ".." in path.split("/"):
        raise ValueError("it must not contain '..' between slashes: name the folder or revision itself")
    return path


# Every value is quoted where it becomes part of a command; a value that needs quoting is still a mistake in
# a form, and refused. So is one that would lead elsewhere, as a path or in a hub's address.
Name = HostName
ModelPath = Annotated[HostPath, AfterValidator(_leads_nowhere_else)]
Revision = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_./-]{0,127}$"),
    AfterValidator(_leads_nowhere_else),
]
RepoId = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,95}/[A-Za-z0-9_.-]{1,95}$"),
    AfterValidator(_leads_nowhere_else),
]
SuiteNames = Annotated[
    str,
    StringConstraints(
        pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*( *, *[A-Za-z0-9_][A-Za-z0-9_.-]*)*$", max_length=500
    ),
]


def digest(value: Any) -> str:
    """A short, stable hash of a JSON value: the first 16 hexadecimal digits of its SHA-256."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, ensure_ascii=False).encode()).hexdigest()[:16]
