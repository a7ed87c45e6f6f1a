"""Finds the rank that failed first in what torchrun printed at its end."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime

from ssh_gang.state import describe_exit

# E1123 08:10:11.123456 4711 torch/distributed/elastic/multiprocessing/api.py:882] failed (exitcode: -9)
# local_rank: 0 (pid: 4720) of binary: …
_FAILED = re.compile(
    r"^E(?P<time>\d{4} \d\d:\d\d:\d\d\.\d+) .*failed \(exitcode: (?P<code>-?\d{1,9})\) "
    r"local_rank: \d+ \(pid: \d+\)",
    re.M,
)
_ROOT_CAUSE = re.compile(
    r"Root Cause \(first observed failure\):.*?^\s*rank\s*: (?P<rank>\d{1,9}) \(local_rank: \d+\)\s*$"
    r".*?^\s*exitcode\s*: (?P<code>-?\d{1,9})",
    re.S | re.M,
)

_TIME_ZONE_STEP = 900.0
"""Seconds: the offsets of all time zones are multiples of a quarter of an hour."""


@dataclass(frozen=True)
class RankFailure:
    """The rank that torchrun on one host saw fail first."""

    rank: int | None
    """The global rank; None where torchrun did not get to print its summary."""
    code: int
    """Exit code, or minus the signal."""
    at: float | None
    """When, by the host's clock, in seconds since the epoch."""

    def __str__(self) -> str:
        return f"rank {'?' if self.rank is None else self.rank}: {describe_exit(self.code)}"


def rank_failure(output: str, ended_at: float) -> RankFailure | None:
    """Return the failure that ended torchrun, or None where its output names none.

    Rank and exit code come from torchrun's summary, the time from the line that reported the failure first.

    Args:
        output: The last lines of torchrun's output.
        ended_at: When torchrun ended, by the same host's clock, in seconds since the epoch.
    """
    root_cause, first = _ROOT_CAUSE.search(output), _FAILED.search(output)
    report = root_cause or first
    if report is None:
        return None
    return RankFailure(
        rank=int(root_cause["rank"]) if root_cause else None,
        code=int(report["code"]),
        at=_moment(first["time"], ended_at) if first else None,
    )


def _moment(text: str, near: float) -> float | None:
    """A time that is written without year and zone: of all zones, the one that brings it next to `near`."""
    year = datetime.fromtimestamp(near, UTC).year
    try:
        as_utc = datetime.strptime(f"{year} {text}", "%Y %m%d %H:%M:%S.%f").replace(tzinfo=UTC).timestamp()
    except ValueError:
        return None
    return as_utc + round((near - as_utc) / _TIME_ZONE_STEP) * _TIME_ZONE_STEP
