"""Waiting for a condition: polled up to a deadline, never a fixed pause."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

T = TypeVar("T")

PAUSE = 0.02
"""Seconds between two polls."""


def wait_until(
    condition: Callable[[], T],
    seconds: float = 40,
    problem: Callable[[], object] | None = None,
    not_yet: type[Exception] = OSError,
    pause: float = PAUSE,
) -> T:
    """Wait until a condition is met, and return its value.

    Args:
        condition: Polled until it returns something true.
        seconds: How long to wait before the test fails.
        problem: What the failure's message shows, such as the end of a log.
        not_yet: An exception that counts as a condition that is not met yet.
        pause: Seconds between two polls, where a poll costs much.
    """
    polls = _polls(condition, seconds, problem, not_yet)
    while not (value := next(polls)):
        time.sleep(pause)
    return value


async def until(condition: Callable[[], T], seconds: float = 40) -> T:
    """`wait_until` in an event loop."""
    polls = _polls(condition, seconds, None, OSError)
    while not (value := next(polls)):  # noqa: ASYNC110 the condition may be anything, and sets no event
        await asyncio.sleep(PAUSE)
    return value


def _polls(
    condition: Callable[[], T],
    seconds: float,
    problem: Callable[[], object] | None,
    not_yet: type[Exception],
) -> Iterator[T | None]:
    """The condition's value at each poll, None where it raises; fails once it was not met in time."""
    deadline = time.monotonic() + seconds
    while True:
        error: Exception | None = None
        try:
            yield condition()
        except not_yet as e:
            error = e
            yield None
        if time.monotonic() > deadline:
            details = problem() if problem else error or ""
            raise AssertionError(f"condition not met within {seconds} s: {details}")
