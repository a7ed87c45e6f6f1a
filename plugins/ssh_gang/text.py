"""Text from a host, made safe to show: no escape sequence of it reaches a terminal or the page."""

from __future__ import annotations

import re

_SEQUENCE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b\n]*(?:\x07|\x1b\\)|[ -/]*[0-~])")
"""Escape sequences (ECMA-48): colours and cursor movements; titles and links; all others."""
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
"""Control characters but tab and line ends, Unicode's own line ends, and what turns the direction of text."""
_HARMLESS = bytes({*range(256)} - {*range(32), 0x7F, 0xC2, 0xE2} | {*b"\t\n\r"})
"""Bytes that are part of no such character in UTF-8."""


def printable(text: str) -> str:
    """Return a text without escape sequences; other control characters become U+FFFD."""
    return _CONTROL.sub("\ufffd", _SEQUENCE.sub("", text))


def decode(data: bytes) -> str:
    """Return UTF-8 as printable text; what is not UTF-8 becomes U+FFFD too."""
    text = data.decode(errors="replace")
    # Most output has none of these bytes, and finding that out costs a hundredth of looking at characters.
    return printable(text) if data.translate(None, _HARMLESS) else text
