"""Hides secrets in an environment before it is logged."""

from __future__ import annotations

import re
from collections.abc import Mapping

_SECRET_NAME = re.compile(
    r"(^|_)(token|(api)?key|secret|password|passwd|passphrase|credential)s?(_|$)", re.IGNORECASE
)
# A name without a password counts too: it may be a token.
_LOGIN_IN_ADDRESS = re.compile(r"://[^/@\s]+@")


def masked(env: Mapping[str, str]) -> dict[str, str]:
    """Return an environment in which secrets, and addresses that hold a login, read `***`."""
    return {name: "***" if _is_secret(name, value) else value for name, value in env.items()}


def _is_secret(name: str, value: str) -> bool:
    return bool(_SECRET_NAME.search(name) or _LOGIN_IN_ADDRESS.search(value))
