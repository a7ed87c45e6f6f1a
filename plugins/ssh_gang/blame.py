"""Finds the host and rank that failed first; the others failed because of it."""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ssh_gang import commands, protocol
from ssh_gang.errors import HostError
from ssh_gang.rank_failure import rank_failure
from ssh_gang.state import describe_exit

if TYPE_CHECKING:
    from ssh_gang.hook import GangHook
    from ssh_gang.host_watch import HostWatch
    from ssh_gang.model import Member
    from ssh_gang.state import JobState

CATCH_UP = 5.0
"""Seconds that hosts which have not reported yet are waited for, before one is blamed."""

FULL = 64
"""MiB of free disk below which a failure is put down to the disk."""

TORCHRUN_SUMMARY = 400
"""Last lines of a host's output in which torchrun's summary is looked for."""


@dataclass(frozen=True)
class Blame:
    """Who failed first."""

    host: str
    rank: int | None
    """None where torchrun's output names no rank."""
    reason: str
    """How, in one line."""
    exit: str
    """The same without host and rank: `exit code 1`."""
    code: int | None
    """Its exit code; None for a host that is lost, or a program that was stopped."""
    at: float
    """When, by this machine's clock; minus infinity for a host that is lost."""


async def failed_before(
    hosts: Mapping[str, HostWatch], moment: float, changed: asyncio.Event
) -> dict[str, JobState]:
    """Return the hosts whose job had failed by a moment, whichever reported it first.

    A job may have ended before its host was heard, or its clock known: such hosts are waited for a little.

    Args:
        hosts: All hosts of the gang, by name.
        moment: When the gang was stopped, by this machine's clock.
        changed: Set when something becomes known of a host.
    """
    present = {name: h for name, h in hosts.items() if not (h.state and h.state.presence == "absent")}
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(CATCH_UP):
            while not all(map(_has_reported_its_end, present.values())):
                changed.clear()
                await changed.wait()
    return {
        name: host.state
        for name, host in present.items()
        if host.state and host.clock.is_known and _failed_by_itself(host, host.state, moment)
    }


async def first_to_fail(
    hook: GangHook, hosts: Mapping[str, HostWatch], failed: Mapping[str, JobState]
) -> Blame:
    """Return the host and rank that failed before the others, by all hosts' clocks compared with this one.

    A host that is lost comes first: no rank elsewhere can have caused that.

    Args:
        hook: The gang's connections.
        hosts: All hosts of the gang, by name.
        failed: The state of each host that failed, by name; at least one.
    """
    blames = await asyncio.gather(*(_blame(hook, hosts[name], state) for name, state in failed.items()))
    return min(blames, key=lambda blame: (blame.at, blame.host))


async def full_disks(hook: GangHook, member: Member) -> str:
    """Return an addition to the reason where a member's disk is full; empty where it is not.

    Programs do not always report it: torch calls a full disk an unexpected position in a file.
    """
    try:
        output = await hook.run(member, commands.free_space_command(hook.gang, member))
    except HostError:
        return ""
    full = [
        f"{space.mebibytes} MiB under {space.folder}"
        for space in protocol.parse_lines(output)
        if isinstance(space, protocol.FreeSpace) and space.mebibytes < FULL
    ]
    return f"; its disk is full ({', '.join(full)} free): delete old runs there" if full else ""


async def last_lines(hook: GangHook, member: Member, rank: int | None) -> str:
    """Return the last lines of a rank's log, or of its host's where the rank printed none."""
    try:
        return await hook.tail(member, rank) or await hook.tail(member)
    except HostError as e:
        return f"(its log cannot be read: {e})"


def _has_reported_its_end(host: HostWatch) -> bool:
    """Whether a host on which everything was stopped has said so, and its clock is known."""
    state = host.state
    return host.clock.is_known and state is not None and (state.is_terminal or state.is_lost)


def _failed_by_itself(host: HostWatch, state: JobState, moment: float) -> bool:
    """Whether a program's own exit code says so; one that was stopped has none."""
    if not (state.exit_status.isdigit() and state.has_failed):
        return False
    return state.ended_at is not None and host.clock.to_local(state.ended_at) < moment


async def _blame(hook: GangHook, host: HostWatch, state: JobState) -> Blame:
    name = host.member.host
    if state.is_lost or state.presence == "absent":
        return Blame(name, None, f"{name}: {state.outcome}", state.outcome, None, -math.inf)
    ended_at, failure = state.ended_at or time.time() + host.clock.ahead, None
    with contextlib.suppress(HostError):
        failure = rank_failure(await hook.tail(host.member, lines=TORCHRUN_SUMMARY), ended_at)
    if failure is None:
        at = host.clock.to_local(ended_at)
        return Blame(name, None, f"{name}: {state.outcome}", state.outcome, state.exit_code, at)
    at = host.clock.to_local(ended_at if failure.at is None else failure.at)
    if failure.rank not in hook.gang.ranks_of(name):
        # What the host printed is not torchrun's own: it has no such rank.
        failure = replace(failure, rank=None)
    code = failure.code if state.exit_code is not None else None
    return Blame(name, failure.rank, f"{name} {failure}", describe_exit(failure.code), code, at)
