"""A host's clock compared with this machine's, over SSH."""

from __future__ import annotations

import math


class HostClock:
    """How far a host's clock is ahead of this machine's."""

    def __init__(self) -> None:
        self.ahead = 0.0
        """Seconds; negative where the host's clock is behind."""
        self.error = math.inf
        """Seconds by which `ahead` may be off; infinite before the first comparison."""

    @property
    def is_known(self) -> bool:
        """Whether the clocks have been compared; a job that ends at once may have ended before."""
        return self.error < math.inf

    def compare(self, asked_at: float, host_time: float, answered_at: float) -> None:
        """Take one answer into account; the one with the shortest round trip counts.

        Args:
            asked_at: When the request for the time was sent, by this machine's clock.
            host_time: The host's answer.
            answered_at: When the answer arrived, by this machine's clock.
        """
        error = (answered_at - asked_at) / 2
        if error < self.error:
            self.ahead, self.error = host_time - (asked_at + answered_at) / 2, error

    def to_local(self, host_time: float) -> float:
        """Return a moment of the host's clock by this machine's clock."""
        return host_time - self.ahead
