"""What a person waits for, with what is left."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import threading

import pytest

from lab.waiting import Work, bar, duration
from tests.conftest import ROOT


@pytest.mark.parametrize(("share", "full"), [(0, 0), (0.5, 10), (1, 20), (1.2, 20), (-1, 0)])
def test_a_bar_is_as_full_as_the_share(share: float, full: int) -> None:
    assert bar(share) == "█" * full + "░" * (20 - full)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 s"), (59.4, "59 s"), (59.6, "1 min 0 s"), (125, "2 min 5 s")]
)
def test_a_duration_reads_as_people_say_it(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_chains_go_on_side_by_side_and_their_parts_in_order() -> None:
    """Each chain ends only after the other one has come as far."""
    met, done = threading.Barrier(2, timeout=10), []

    def part(name: str) -> tuple[str, object]:
        def do() -> None:
            met.wait()
            done.append(name)

        return name, do

    Work([[part("a"), part("b")], [part("c"), part("d")]], dict.fromkeys("abcd", 1)).run()
    assert done.index("a") < done.index("b")
    assert done.index("c") < done.index("d")


def test_a_failure_is_told_when_the_other_chain_has_ended() -> None:
    ended = threading.Event()

    def fails() -> None:
        raise SystemExit("what to do")

    work = Work(
        [[("a", fails), ("b", lambda: pytest.fail("goes on"))], [("c", ended.set)]], dict.fromkeys("abc", 1)
    )
    with pytest.raises(SystemExit, match="what to do"):
        work.run()
    assert ended.is_set()


def test_what_is_left_is_the_longest_chain() -> None:
    work = Work([[("a", int)], [("b", int), ("c", int)]], {"a": 20, "b": 30, "c": 60})
    assert work.line() == f"{bar(0)} : about 1 min 30 s left"
    work.run()
    assert work.line() == f"{bar(1)} : about 0 s left"


def test_a_slow_machine_is_told_more() -> None:
    work = Work([[("a", int), ("b", int)]], {"a": 10, "b": 10})
    work._took["a"] = 30
    assert work.line().endswith("about 30 s left")


def test_a_terminal_shows_how_far_it_is_and_leaves_nothing_behind() -> None:
    script = """
import time
from lab.machine import report
from lab.waiting import Work
def slow():
    report("a line")
    time.sleep(1.2)
Work([[("the part", slow)]], {"the part": 5}).run()
"""
    reader, terminal = pty.openpty()
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, stdout=terminal, check=True, timeout=30)
    os.close(terminal)
    shown = os.read(reader, 10_000).decode()
    assert "the part: about " in shown
    assert shown.endswith("\r\x1b[K")
    assert "] a line" in shown
