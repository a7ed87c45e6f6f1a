"""How far apart the hosts of a gang started, and when the last of them ended."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ssh_gang.host_watch import HostWatch


@dataclass(frozen=True)
class LaunchSkew:
    """Time between the first and the last host's start, in seconds."""

    seconds: float
    error: float
    """Seconds by which it may be off, because clocks are compared over SSH."""


def launch_skew(hosts: Collection[HostWatch]) -> LaunchSkew | None:
    """Return the launch skew; None until every host's start and clock are known."""
    starts = [host.started_at() for host in hosts]
    known = [start for start in starts if start is not None]
    if len(known) < len(starts):
        return None
    errors = sorted(host.clock.error for host in hosts)
    return LaunchSkew(max(known) - min(known), sum(errors[-2:]))


def last_end(hosts: Collection[HostWatch]) -> float | None:
    """Return when the last host's job ended, by this machine's clock; None until every end is known."""
    ends = [host.ended_at() for host in hosts]
    known = [end for end in ends if end is not None]
    return max(known) if len(known) == len(ends) else None
