"""What a rank reports of itself, beside its output.

A rank writes one line to the file named after it in the folder that `REPORTS` names, and replaces the file as
a whole: `step=120 at=1764400000.5 seconds=3.2 data_seconds=0.02 memory=10240`. Fields after the first two may
be missing. The follow command sends the newest line of each rank with its heartbeat, so a report costs no
output, and a rank that hangs is seen by its old one.
"""

from __future__ import annotations

import re

from pydantic import Field, ValidationError

from ssh_gang.model import Model
from ssh_gang.progress import MOST

REPORTS = "SSH_GANG_REPORTS"
"""Variable in a rank's environment that names the folder of the reports."""

_FIELD = re.compile(r"(\w+)=(\S+)")


class RankReport(Model):
    """Where one rank is, and how long its steps take."""

    rank: int = Field(ge=0, le=MOST, description="Global rank.")
    step: int = Field(ge=0, le=MOST, description="Its last step.")
    at: float = Field(
        ge=0, le=2**32, description="When it reported, by its host's clock; seconds since the epoch."
    )
    seconds: float | None = Field(
        None, ge=0, allow_inf_nan=False, description="Seconds that a step takes, on average since the last."
    )
    data_seconds: float | None = Field(
        None, ge=0, allow_inf_nan=False, description="The part of them in which it waited for its next batch."
    )
    memory: int | None = Field(None, ge=0, le=MOST, description="Peak GPU memory that it allocated, in MiB.")


def parse(text: str) -> list[RankReport]:
    """Return the reports in lines of `RANK FIELD=VALUE…`.

    A program of the user's wrote them, and not a script of this package: what is no report is left out, and
    so are fields of other names.
    """
    return [report for line in text.splitlines() if (report := _report(line))]


def _report(line: str) -> RankReport | None:
    rank, _, fields = line.partition(" ")
    known = {name: value for name, value in _FIELD.findall(fields) if name in RankReport.model_fields}
    try:
        return RankReport.model_validate(known | {"rank": rank})
    except ValidationError:
        return None
