"""Hides secrets in an environment or a text before it is logged or sent."""

from __future__ import annotations

import re
from collections.abc import Mapping

_SECRET = r"(?:token|(?:api)?key|secret|password|passwd|passphrase|credential)s?"
_SECRET_NAME = re.compile(rf"(^|_){_SECRET}(_|$)", re.IGNORECASE)
# A name without a password counts too: it may be a token.
_LOGIN_IN_ADDRESS = re.compile(r"://[^/@\s]+@")
_ASSIGNMENT = re.compile(rf"(\b(?:\w+_)?{_SECRET}(?:_\w+)?[=:] ?)[^\s,;]+", re.IGNORECASE)


def masked(env: Mapping[str, str]) -> dict[str, str]:
    """Return an environment in which secrets, and addresses that hold a login, read `***`."""
    return {name: "***" if _is_secret(name, value) else value for name, value in env.items()}


def _is_secret(name: str, value: str) -> bool:
    return bool(_SECRET_NAME.search(name) or _LOGIN_IN_ADDRESS.search(value))


def masked_text(text: str) -> str:
    """Return a text in which logins in addresses, and values assigned to secret names, read `***`."""
    return _ASSIGNMENT.sub(r"\1***", _LOGIN_IN_ADDRESS.sub("://***@", text))
