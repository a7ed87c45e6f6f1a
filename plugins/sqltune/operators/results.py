"""The result that a script leaves at the end of a gang's log."""

from __future__ import annotations

from sqltune.node_contracts.script import NodeScript, RequestT, ResponseT
from ssh_gang.errors import GangError

SHOWN = 1500
"""Characters of a log that an error message quotes."""


def result_of(script: NodeScript[RequestT, ResponseT], output: str) -> ResponseT:
    """The last result in a script's output.

    Raises:
        GangError: The result is missing although the script ended with 0, or it is not a valid response.
    """
    try:
        return script.read(output)
    except ValueError as e:
        raise GangError(f"{e}; its output ends:\n{end_of(output)}") from e


def end_of(output: str) -> str:
    """The end of a log, for an error message."""
    return output[-SHOWN:]
