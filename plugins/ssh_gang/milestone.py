"""Moments in the life of an attempt that are recorded: from its submission to its end."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ssh_gang.commands import command_line
from ssh_gang.event import GangEvent
from ssh_gang.masking import masked
from ssh_gang.model import Gang, Member, Model

Kind = Literal[
    "submitted",
    "resumed",
    "prepared",
    "started",
    "reconnected",
    "ranks_started",
    "taken_over",
    "checkpoint",
    "stopping",
    "stopped",
    "killed",
    "ended",
    "failed",
]
"""What happened, in the usual order.

| kind | at that moment |
|---|---|
| `submitted` | the hosts were queried, and nothing of the gang ran there |
| `resumed` | it was decided that the attempt goes on from the step `number` |
| `prepared` | every host waited for the start signal; `commands` is what they run |
| `started` | the start signal was sent |
| `reconnected` | the task's try `number` found the attempt on the hosts, and watches it |
| `ranks_started` | every rank had started; the launch skew is known |
| `taken_over` | a watch went on where an earlier one had recorded the step `number` |
| `checkpoint` | `host` reported the checkpoint of the step `number` |
| `stopping` | the watcher decided to stop the gang, for `reason` |
| `stopped` | no process of the attempt was left; or `reason` says what is left |
| `killed` | the task was killed, perhaps by a person; no process of the attempt was left |
| `ended` | the last host's job ended; `end` says how |
| `failed` | the task failed, for `reason`; `advice` says what a retry does |
"""


class HostCommand(Model):
    """What one host runs, as a person would type it there."""

    host: str = Field(description="Name of the host.")
    cwd: str = Field(description="Working directory; ~ is the home on the host.")
    command: str = Field(description="The program and its arguments, quoted for a shell.")
    path_prefix: str | None = Field(None, description="Folder that is put first on PATH.")
    env: dict[str, str] = Field(
        default_factory=dict, description="Environment variables on top of the login's; secrets read ***."
    )

    @classmethod
    def of(cls, member: Member) -> HostCommand:
        """Return what a member runs."""
        return cls(
            host=member.host,
            cwd=member.cwd,
            command=command_line(member),
            path_prefix=member.path_prefix,
            env=masked(member.env),
        )


class Milestone(Model):
    """One moment in the life of an attempt; it is told apart by kind, host and number."""

    kind: Kind = Field(description="What happened.")
    at: float = Field(
        description="When, by the clock of the machine that noticed it; seconds since the epoch."
    )
    host: str = Field("", description="The host that it concerns; empty: the whole gang.")
    number: int = Field(0, description="The step or the try, where the kind has one.")
    reason: str = Field("", description="Why, for people.")
    advice: str = Field("", description="What a retry does, for people.")
    launch_skew: float | None = Field(
        None, description="Seconds between the first and the last host's start."
    )
    launch_skew_error: float | None = Field(None, description="Seconds by which `launch_skew` may be off.")
    commands: tuple[HostCommand, ...] = Field((), description="What each host runs.")
    end: GangEvent | None = Field(None, description="How the attempt ended.")

    @property
    def key(self) -> tuple[str, str, int]:
        """What tells it apart from the other milestones of its attempt."""
        return self.kind, self.host, self.number


def prepared(gang: Gang, at: float) -> Milestone:
    """Return the milestone of a gang whose hosts wait for the start signal."""
    return Milestone(kind="prepared", at=at, commands=tuple(map(HostCommand.of, gang.members)))
