"""What the tests of a watch, and those of an operator, share."""

from __future__ import annotations

import logging
from pathlib import Path
from types import SimpleNamespace

import pytest

from ssh_gang import blame, host_watch, watch
from ssh_gang.hook import GangHook
from ssh_gang.resume import Decision
from tests.ssh_gang.operated import Recorded


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


@pytest.fixture
def hook(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The calls of the hook; `launched` is what `launch` returns or raises, `tail` what a host printed."""
    calls = SimpleNamespace(stopped=[], refused=0, launched=None, tail="", milestones=[])

    async def launch(self, prepare=None):
        self.milestones = calls.milestones
        if isinstance(calls.launched, Exception):
            raise calls.launched
        return calls.launched or (Decision.FRESH_SUBMIT, self.gang)

    async def stop(self, attempt):
        calls.stopped.append((self.gang.name, attempt))

    async def refuse(self):
        calls.refused += 1

    async def tail(self, member, rank=None, lines=30):
        return calls.tail

    for method in (launch, stop, refuse, tail):
        monkeypatch.setattr(GangHook, method.__name__, method)
    return calls


@pytest.fixture
def recorded(tmp_path: Path) -> Recorded:
    return Recorded(tmp_path)
