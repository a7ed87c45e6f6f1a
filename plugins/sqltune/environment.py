"""Settings and secrets from environment variables."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from functools import cache

from sqltune.errors import ConfigError

COMMAND = "_CMD"
"""Ends the name of a variable that holds a command in place of a secret, as with Airflow's own."""
SECONDS = 30
"""How long such a command may take."""


def setting(name: str, default: str = "") -> str:
    """Return a variable, or its default where it is unset or empty: `NAME=` in `.env` sets no value."""
    return os.environ.get(name) or default


def positive(name: str, default: int) -> int:
    """Return a variable as a whole number above zero, or its default where it is unset or empty.

    Raises:
        ConfigError: It is something else.
    """
    value = setting(name, str(default))
    if not re.fullmatch("[0-9]{1,6}", value) or int(value) == 0:
        raise ConfigError([f"{name}: found {value!r}, expected a whole number from 1 to 999999: correct it"])
    return int(value)


def secret(name: str) -> str:
    """Return a secret: the variable, else what the command in `<name>_CMD` prints; empty without both.

    Other programs that this user may look at see a variable's value, but only the command that prints it. It
    runs once in each process, without a shell; white space around what it prints is removed.

    Raises:
        ConfigError: The command cannot be run, fails, or prints nothing.
    """
    if value := os.environ.get(name):
        return value
    command = os.environ.get(name + COMMAND)
    return _printed(name + COMMAND, command) if command else ""


@cache
def _printed(variable: str, command: str) -> str:
    try:
        done = subprocess.run(
            shlex.split(command), capture_output=True, text=True, timeout=SECONDS, check=False
        )
    except (OSError, ValueError, subprocess.TimeoutExpired) as e:
        raise ConfigError([f"{variable}: {command} cannot be run ({e}): correct the command"]) from e
    # What it prints may be a part of the secret, so a failure shows only what it says of it.
    if done.returncode != 0:
        reason = " ".join(done.stderr.split()) or "without a word"
        raise ConfigError([f"{variable}: {command} exited with {done.returncode} ({reason}): correct it"])
    if not (value := done.stdout.strip()):
        raise ConfigError([f"{variable}: {command} printed nothing: it must print the secret"])
    return value
