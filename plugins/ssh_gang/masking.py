"""Hides secrets in an environment before it is logged."""

from __future__ import annotations

import re
from collections.abc import Mapping

_SECRET_NAME = re.compile(r"(^|_)(token|key|secret|password)s?(_|$)", re.I)
_PASSWORD_IN_ADDRESS = re.compile(r"://[^/@:]+:[^/@]+@")


def masked(env: Mapping[str, str]) -> dict[str, str]:
    """Return an environment in which secrets, and addresses that hold a password, read `***`."""
    return {name: "***" if _is_secret(name, value) else value for name, value in env.items()}


def _is_secret(name: str, value: str) -> bool:
    return bool(_SECRET_NAME.search(name) or _PASSWORD_IN_ADDRESS.search(value))
