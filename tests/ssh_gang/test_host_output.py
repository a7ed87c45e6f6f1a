"""Positions of a host's output, and what is skipped when it comes again."""

from __future__ import annotations

import logging

import pytest

from ssh_gang.host_output import HostOutput
from ssh_gang.log import LogFilter
from ssh_gang.progress import CheckpointFinder, ProgressTracker

PATTERN = r"step (?P<step>\d+)/(?P<total>\d+)"


class Received:
    """A host's output, with what was recorded and in which order."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, object]] = []
        self.text = b""
        tracker = ProgressTracker(PATTERN, lambda progress: self.calls.append(("progress", progress.step)))
        checkpoints = CheckpointFinder(
            r"saved (?P<step>\d+)", lambda step: self.calls.append(("saved", step))
        )
        self.output = HostOutput(
            logging.getLogger("test"), LogFilter("a"), tracker, self._record, checkpoints
        )

    def _record(self, offset: int, data: bytes) -> None:
        assert offset == len(self.text)
        self.text += data
        self.calls.append(("output", data))


@pytest.fixture
def host(caplog) -> Received:
    caplog.set_level(logging.INFO)
    received = Received()
    received.output.restart(0)
    return received


def test_take_forwards_whole_lines_and_holds_the_rest(host, caplog):
    host.output.take(b"one\ntw")
    assert caplog.messages == ["[a] one"]
    assert host.output.received == 6
    assert host.output.forwarded == 4
    assert host.text == b"one\n"


def test_take_with_final_forwards_a_last_line_without_an_end(host, caplog):
    host.output.take(b"one\ntw")
    host.output.take(b"", final=True)
    assert caplog.messages == ["[a] one", "[a] tw"]
    assert host.text == b"one\ntw"


def test_restart_skips_what_was_forwarded_and_comes_again(host, caplog):
    host.output.take(b"one\ntwo\nthr")
    host.output.note_recorded(4)
    host.output.restart(4)
    host.output.take(b"two\nthree\n")
    assert caplog.messages == ["[a] one", "[a] two", "[a] three"]
    assert host.text == b"one\ntwo\nthree\n"


def test_restart_behind_another_watcher_goes_on_there(caplog):
    caplog.set_level(logging.INFO)
    later = Received()
    later.text = b"one\n"
    later.output.restart(4)
    later.output.take(b"two\n")
    assert caplog.messages == ["[a] two"]
    assert later.text == b"one\ntwo\n"


def test_must_acknowledge_what_is_recorded_and_no_more(host):
    host.output.take(b"one\ntwo\n")
    assert not host.output.must_acknowledge
    host.output.note_recorded(4)
    assert host.output.must_acknowledge
    assert host.output.recorded == 4
    host.output.acknowledged = 4
    assert not host.output.must_acknowledge


def test_progress_is_recorded_before_the_line_that_reports_it(host):
    host.output.take(b"step 1/9\n")
    assert host.calls == [("progress", 1), ("output", b"step 1/9\n")]


def test_a_checkpoint_is_recorded_before_the_line_that_reports_it(host):
    host.output.take(b"saved 20\n")
    assert host.calls == [("saved", 20), ("output", b"saved 20\n")]


def test_a_checkpoint_that_is_reported_twice_is_found_once(host):
    host.output.take(b"saved 20\nsaved 20\nsaved 40\n")
    assert [call for call in host.calls if call[0] == "saved"] == [("saved", 20), ("saved", 40)]
