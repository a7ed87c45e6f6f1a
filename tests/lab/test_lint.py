"""The static checks' own parts."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab import lint
from tests.conftest import ROOT


@pytest.mark.parametrize("check", lint.checks(), ids=lambda check: check.name)
def test_each_check_has_its_tool(check):
    assert (lint.BIN / check.command[0]).exists()


def test_compose_without_its_secrets_fails_with_the_remedy():
    (check,) = lint.select(["Compose"])
    empty = lint.Check(check.name, check.command, dict.fromkeys(check.environment, ""))
    outcome = lint.run(empty)
    assert not outcome.passed
    assert "is missing a value: run bash deploy/fill-env.sh" in outcome.output


def test_every_tracked_shell_file_is_checked():
    scripts = {str(path.relative_to(ROOT)) for path in Path(ROOT / "plugins").rglob("*.sh")}
    assert scripts <= set(lint.tracked("*.sh"))


def test_an_unknown_name_lists_the_checks():
    with pytest.raises(SystemExit, match="no check is called nonsense; the checks are: mypy, "):
        lint.select(["nonsense"])


def test_a_failed_check_is_reported_with_its_output(capsys, monkeypatch):
    monkeypatch.setattr(
        lint, "checks", lambda: [lint.Check("broken", ["python", "-c", "raise SystemExit('why')"])]
    )
    assert lint.main([]) == 1
    assert "why" in capsys.readouterr().out
