"""A host whose job has ended: its last line, its last acknowledgement, and a host that is gone."""

from __future__ import annotations

import pytest

from ssh_gang import host_watch
from tests.ssh_gang.watched import (
    Followed,
    play,
    until,
)

pytestmark = pytest.mark.usefixtures("short_pauses")


def test_a_last_line_without_an_end_is_forwarded_when_the_job_has_ended(caplog):
    async def test() -> None:
        followed = Followed()
        async with followed.following():
            followed.host.print("one\nhalf")
            await until(lambda: followed.watch.output.received == 8)
            followed.host.end(0)
            await until(lambda: followed.watch.is_done)

    play(test)
    assert caplog.messages == ["[a] one", "[a] half"]


def test_a_last_line_without_an_end_is_forwarded_when_it_arrives_after_the_end(caplog):
    async def test() -> None:
        followed = Followed()
        async with followed.following():
            followed.host.report(alive=False, exit_status="0", ended_at=followed.host.now, output_size=4)
            await until(lambda: followed.watch.has_succeeded)
            followed.host.print("half")
            await until(lambda: followed.watch.is_done)

    play(test)
    assert caplog.messages == ["[a] half"]


def test_a_host_is_done_only_when_the_last_acknowledgement_is_answered():
    async def test() -> None:
        followed = Followed()
        followed.host.acknowledges = False
        async with followed.following():
            followed.host.print("one\n")
            followed.host.end(0)
            await until(lambda: followed.watch.is_output_complete)
            assert not followed.watch.is_done
            followed.host.acknowledges = True
            await until(lambda: followed.watch.is_done)

    play(test)


def test_a_host_that_is_gone_after_its_success_is_done_after_a_while(monkeypatch):
    monkeypatch.setattr(host_watch, "DRAIN", 0.1)

    async def test() -> None:
        followed = Followed()
        async with followed.following():
            followed.host.report(alive=False, exit_status="0", ended_at=followed.host.now, output_size=100)
            await until(lambda: followed.watch.has_succeeded)
            followed.host.is_reachable = False
            followed.host.break_off()
            await until(lambda: followed.watch.is_done)
            assert not followed.watch.is_output_complete

    play(test)
