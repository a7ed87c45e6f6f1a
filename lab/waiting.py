"""What a person waits for, told with a bar and what is left. Standard library only: setup shows it too."""

from __future__ import annotations

import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

WIDTH = 20
"""Characters of a bar."""
Part = tuple[str, Callable[[], None]]
"""A part of some work: its name, and what does it."""


def bar(share: float) -> str:
    """Return a bar that is full at a share of 1."""
    full = round(WIDTH * min(max(share, 0), 1))
    return "█" * full + "░" * (WIDTH - full)


def duration(seconds: float) -> str:
    """Return a time as people say it, such as `2 min 5 s`."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


class Work:
    """Chains of parts that go on side by side, and how far they are.

    Args:
        chains: In each chain, one part follows the other.
        expected: Seconds that each part takes on a machine of two cores with a near package index.
    """

    def __init__(self, chains: list[list[Part]], expected: Mapping[str, float]) -> None:
        self._chains, self._expected = chains, expected
        self._began: dict[str, float] = {}
        self._took: dict[str, float] = {}

    def run(self) -> None:
        """Do it all; in a terminal, show how far it is.

        Raises:
            SystemExit: A part failed; the other chain was let go on to its end.
        """
        with self._shown(), ThreadPoolExecutor(len(self._chains)) as pool:
            ended = [pool.submit(self._run_chain, chain) for chain in self._chains]
        for chain in ended:
            chain.result()

    def _run_chain(self, chain: list[Part]) -> None:
        for name, do in chain:
            self._began[name] = time.monotonic()
            do()
            self._took[name] = time.monotonic() - self._began[name]

    def line(self) -> str:
        """What goes on, how much of all is done, and how much is left."""
        left = max(sum(map(self._left, chain)) for chain in self._chains)
        whole = max(sum(self._expected[name] for name, _ in chain) for chain in self._chains)
        going_on = [name for name in list(self._began) if name not in self._took]
        return f"{bar(1 - left / whole)} {', '.join(going_on)}: about {duration(left)} left"

    def _left(self, part: Part) -> float:
        """Seconds that a part still takes, by what it should take here."""
        name, _ = part
        if name in self._took:
            return 0
        expected = self._expected[name] * self._pace()
        spent = time.monotonic() - self._began[name] if name in self._began else 0
        # What takes longer than expected is told as nearly done, and not as less than nothing.
        return max(expected - spent, expected / 10)

    def _pace(self) -> float:
        """How many times longer this machine takes, by the parts that are done."""
        # A copy: another part may end meanwhile.
        took = dict(self._took)
        usual = sum(self._expected[name] for name in took)
        return max(sum(took.values()) / usual, 0.2) if usual else 1

    @contextmanager
    def _shown(self) -> Iterator[None]:
        ended = threading.Event()
        shows = threading.Thread(target=self._show, args=(ended,), daemon=True)
        if sys.stdout.isatty():
            shows.start()
        try:
            yield
        finally:
            ended.set()
            if shows.is_alive():
                shows.join()
                print("\r\033[K", end="", flush=True)

    def _show(self, ended: threading.Event) -> None:
        while not ended.wait(0.5):
            if self._began:
                print("\r\033[K" + self.line()[: shutil.get_terminal_size().columns - 1], end="", flush=True)
