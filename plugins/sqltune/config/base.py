"""What the configuration models share: types of the values that reach a command line, and a hash."""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any

from pydantic import StringConstraints

from ssh_gang.model import HostName, HostPath

# Every value is quoted where it becomes part of a command; a value that needs quoting is still a mistake in
# a form, and refused.
Name = HostName
ModelPath = HostPath
Revision = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_./-]{0,127}$")]
RepoId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][\w.-]*/[\w.-]+$")]
SuiteNames = Annotated[
    str,
    StringConstraints(
        pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*( *, *[A-Za-z0-9_][A-Za-z0-9_.-]*)*$", max_length=500
    ),
]


def digest(value: Any) -> str:
    """A short, stable hash of a JSON value: the first 16 hexadecimal digits of its SHA-256."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, ensure_ascii=False).encode()).hexdigest()[:16]
