"""Checks a running gang against its limits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ssh_gang.host_watch import HostWatch
    from ssh_gang.model import Limits
    from ssh_gang.progress import ProgressTracker


def exceeded_limit(limits: Limits, hosts: Sequence[HostWatch], progress: ProgressTracker) -> str | None:
    """Return which limit is exceeded, by how much and where; None while all are kept.

    A host whose job has succeeded, and whose whole output has arrived, has no limit to keep any more.
    """
    active = [host for host in hosts if not (host.has_succeeded and host.is_output_complete)]
    if not active:
        return None
    return (
        _unreachable(limits, active)
        or _total(limits, active)
        or _rendezvous(limits, active)
        or _progress(limits, active, progress)
    )


def _unreachable(limits: Limits, hosts: Sequence[HostWatch]) -> str | None:
    for host in hosts:
        if host.silence > limits.unreachable:
            return f"{host.member.host}: not reachable for {limits.unreachable:.0f} s (limit unreachable)"
    return None


def _total(limits: Limits, hosts: Sequence[HostWatch]) -> str | None:
    if _elapsed(hosts) > limits.total:
        return f"not done after {limits.total:.0f} s (limit total)"
    return None


def _rendezvous(limits: Limits, hosts: Sequence[HostWatch]) -> str | None:
    late = [
        f"{host.member.host} {host.state.ranks_started} of {host.member.ranks}"
        for host in hosts
        if host.state and host.state.is_running and host.state.ranks_started < host.member.ranks
    ]
    if late and _elapsed(hosts) > limits.rendezvous:
        seconds, hosts_and_ranks = f"{limits.rendezvous:.0f} s", ", ".join(late)
        return f"after {seconds} not every rank has started: {hosts_and_ranks} (limit rendezvous)"
    return None


def _progress(limits: Limits, hosts: Sequence[HostWatch], progress: ProgressTracker) -> str | None:
    has_ended = all(host.state and host.state.is_terminal for host in hosts)
    if not progress.is_expected or has_ended:
        return None
    name, limit = _next_step(limits, progress)
    if progress.seconds_since_last > limit:
        last = progress.latest or "no iteration yet"
        return f"no progress for {limit:.0f} s (limit {name}), last: {last}"
    return None


def _next_step(limits: Limits, progress: ProgressTracker) -> tuple[str, float]:
    """The limit that the next step must keep; the longer one while it is not known which step that is."""
    first, further = ("first_step", limits.first_step), ("stall", limits.stall)
    if progress.latest:
        return further
    return max(first, further, key=lambda limit: limit[1]) if progress.is_restoring else first


def _elapsed(hosts: Sequence[HostWatch]) -> float:
    return max(host.elapsed for host in hosts)
