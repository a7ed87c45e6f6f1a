"""Errors that this package raises on purpose.

SshGangError
├── HostError        one host cannot be reached, or a command failed there
└── GangError        a gang was not prepared, failed, was lost, or left no evidence of its work
    └── HostsBusy    another gang occupies the hosts: worth waiting for
"""

from __future__ import annotations

from ssh_gang.text import printable


class SshGangError(Exception):
    """Base of all errors raised on purpose.

    The message states what was found, what was expected and what to do. What it quotes of a host is
    printable.
    """

    def __init__(self, message: str) -> None:
        super().__init__(printable(message))


class HostError(SshGangError):
    """A host cannot be reached, or a command failed there; the message begins with the host's name."""


class GangError(SshGangError):
    """A gang was not prepared, failed, was lost, or ended without evidence that it did its work."""


class HostsBusy(GangError):
    """Another exclusive gang occupies a host that this gang needs exclusively."""
