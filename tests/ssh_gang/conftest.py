"""What the tests of a watch share."""

from __future__ import annotations

import logging

import pytest

from ssh_gang import blame, host_watch, watch


@pytest.fixture
def short_pauses(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Pauses of milliseconds, and a log that is captured."""
    caplog.set_level(logging.INFO)
    for name in ("ACKNOWLEDGE_PAUSE", "REPEAT_PAUSE", "FIRST_PAUSE", "LONGEST_PAUSE", "QUERY_PAUSE"):
        monkeypatch.setattr(host_watch, name, 0.01)
    monkeypatch.setattr(host_watch, "LAST_OUTPUT", 0.05)
    monkeypatch.setattr(blame, "CATCH_UP", 0.5)
    monkeypatch.setattr(watch, "CATCH_UP", 0.5)
    monkeypatch.setattr(watch, "LOOK_PAUSE", 0.01)
