"""How fast a model answered a suite, as its client saw it."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from ssh_gang.model import Model


class Speed(Model):
    """How fast a model generated answers, at the concurrency of the evaluation."""

    answers: int = Field(
        ge=1,
        description="Answers it was measured over: those that one try of this run generated; none that was "
        "known from an earlier run.",
    )
    seconds: float = Field(gt=0, description="Seconds from the first prompt sent to the last answer.")
    p50: float = Field(gt=0, description="Median latency, in seconds.")
    p95: float = Field(gt=0, description="p95 latency: 95 % of the answers came within so many seconds.")
    tokens: int | None = Field(
        description="Tokens of these answers, as the API counts them; null where it does not."
    )

    @property
    def answers_per_second(self) -> float:
        """Answers a second, over the whole try."""
        return self.answers / self.seconds

    @property
    def tokens_per_second(self) -> float | None:
        """Generated tokens a second, over the whole try; None where the API does not count them."""
        return None if self.tokens is None else self.tokens / self.seconds

    def __str__(self) -> str:
        rate = f"{self.answers_per_second:.2f} answers a second"
        tokens = "" if self.tokens_per_second is None else f" ({self.tokens_per_second:.0f} tokens)"
        latency = f"latency {self.p50:.2f} s (p50), {self.p95:.2f} s (p95)"
        return f"{self.answers} answers in {self.seconds:.1f} s: {rate}{tokens}, {latency}"


def measured(latencies: Sequence[float], seconds: float, tokens: int | None) -> Speed | None:
    """Return the speed of a try; None if it generated no answer.

    Args:
        latencies: Seconds of each answer, from sending its prompt to its last byte.
        seconds: Seconds from the first prompt sent to the last answer.
        tokens: Tokens of all these answers; None if they were not counted.
    """
    if not latencies:
        return None
    return Speed(
        answers=len(latencies),
        seconds=seconds,
        p50=percentile(latencies, 50),
        p95=percentile(latencies, 95),
        tokens=tokens,
    )


def percentile(values: Sequence[float], percent: int) -> float:
    """Return the smallest of some values that at least so many percent of them do not exceed (nearest rank).

    Args:
        values: The values; one at least.
        percent: From 1 to 100.
    """
    rank = -(-percent * len(values) // 100)
    return sorted(values)[rank - 1]


def of_most_answers(earlier: Speed | None, newer: Speed | None) -> Speed | None:
    """Return the speed that was measured over more answers; of two alike, the newer one.

    Percentiles of two tries can not be joined, and one over a few last answers says little.
    """
    return max((newer, earlier), key=lambda speed: speed.answers if speed else 0)
