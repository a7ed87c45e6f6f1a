"""Settings and secrets from environment variables."""

from __future__ import annotations

import re
import sys

import pytest

from sqltune.environment import positive, secret, setting
from sqltune.errors import ConfigError

NAME = "SQLTUNE_EXAMPLE"


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch):
    for name in (NAME, f"{NAME}_CMD"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(("value", "expected"), [(None, "default"), ("", "default"), ("own", "own")])
def test_an_empty_setting_is_one_that_is_not_set(monkeypatch, value, expected):
    if value is not None:
        monkeypatch.setenv(NAME, value)
    assert setting(NAME, "default") == expected


@pytest.mark.parametrize(("value", "expected"), [("", 1), ("3", 3), ("010", 10)])
def test_a_number_is_read_from_a_setting(monkeypatch, value, expected):
    monkeypatch.setenv(NAME, value)
    assert positive(NAME, 1) == expected


@pytest.mark.parametrize("value", ["0", "-1", "1.5", "two", "1_0", "٣", "9999999"])
def test_a_setting_that_is_no_number_above_zero_is_refused(monkeypatch, value):
    monkeypatch.setenv(NAME, value)
    with pytest.raises(ConfigError, match=rf"{NAME}: found '{re.escape(value)}', expected a whole number"):
        positive(NAME, 1)


def test_a_secret_that_is_not_set_is_empty():
    assert secret(NAME) == ""


def test_a_secret_comes_from_a_command_without_a_shell(monkeypatch, tmp_path):
    file = tmp_path / "a file"
    file.write_text("p@ss/w:rd $HOME\n")
    monkeypatch.setenv(f"{NAME}_CMD", f"cat '{file}'")
    assert secret(NAME) == "p@ss/w:rd $HOME"


def test_a_variable_wins_over_the_command(monkeypatch):
    monkeypatch.setenv(NAME, "value")
    monkeypatch.setenv(f"{NAME}_CMD", "false")
    assert secret(NAME) == "value"


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("/nowhere/program", "cannot be run"),
        ("cat '", "cannot be run"),
        ("cat /nowhere/secret", r"exited with 1 \(cat: /nowhere/secret: No such file"),
        ("true", "printed nothing: it must print the secret"),
    ],
)
def test_a_command_that_fails_is_named_with_its_variable(monkeypatch, command, message):
    monkeypatch.setenv(f"{NAME}_CMD", command)
    with pytest.raises(ConfigError, match=rf"- {NAME}_CMD: {command} .*{message}"):
        secret(NAME)


def test_what_a_failing_command_printed_is_not_shown(monkeypatch, tmp_path):
    program = tmp_path / "program.py"
    program.write_text("print('half-of-it'); raise SystemExit(3)")
    monkeypatch.setenv(f"{NAME}_CMD", f"{sys.executable} {program}")
    with pytest.raises(ConfigError, match=r"exited with 3 \(without a word\)") as caught:
        secret(NAME)
    assert "half-of-it" not in str(caught.value)
