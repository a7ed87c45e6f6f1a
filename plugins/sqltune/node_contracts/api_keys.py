"""API keys of the served model, as one text: one key, or several with a name each."""

from __future__ import annotations

import re

DEFAULT = "default"
"""Name of a key that stands alone."""
INTERNAL = "internal"
"""Name under which the servers' own requests appear in log and metrics; no key may have it."""
VARIABLE = "SQLTUNE_API_KEY"
"""Variable in which the keys reach the serving host, as `formatted` writes them."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_KEY = re.compile(r"[!-+\x2d-~]+")
"""Printable ASCII without white space and without the comma, which divides keys."""


def parse_api_keys(text: str) -> dict[str, str]:
    """Read `KEY`, or `NAME:KEY` several times, divided by commas or line ends.

    Args:
        text: The text.

    Returns:
        Keys by name, none for a blank text; a single key without a name is called `default`.

    Raises:
        ValueError: What is wrong, and what to write; it quotes no key.
    """
    parts = [part.strip() for part in re.split(r"[,\r\n]+", text) if part.strip()]
    if len(parts) == 1 and ":" not in parts[0]:
        parts = [f"{DEFAULT}:{parts[0]}"]
    pairs = [_pair(number, part) for number, part in enumerate(parts, 1)]
    for what, values in (("name", [n for n, _ in pairs]), ("key", [k for _, k in pairs])):
        if len(set(values)) < len(values):
            raise ValueError(f"the same {what} stands there twice: give each user a name and a key")
    return dict(pairs)


def _pair(number: int, part: str) -> tuple[str, str]:
    name, _, key = part.partition(":")
    if not key or not _NAME.fullmatch(name) or name == INTERNAL:
        raise ValueError(
            f"entry {number} is no NAME:KEY: write one key, or several as NAME:KEY divided by commas; a name "
            f"has letters, digits and _.-, and is not {INTERNAL!r}"
        )
    if not _KEY.fullmatch(key):
        raise ValueError(f"the key of {name!r} has white space or characters beyond ASCII: make another one")
    return name, key


def formatted(keys: dict[str, str]) -> str:
    """The text that `parse_api_keys` reads, on one line."""
    return ",".join(f"{name}:{key}" for name, key in keys.items())
