"""State of a gang on one host, with questions on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class JobState:
    """State of a gang on one host."""

    presence: Literal["absent", "present", "unreachable"]
    attempt: str = ""
    fencing_token: int = 0
    generation: int = 0
    spec_hash: str = "-"
    alive: bool = False
    rebooted: bool = False
    started_at: float | None = None
    ranks_started: int = 0
    """Ranks that torchrun has started."""
    exit_status: str = ""
    ended_at: float | None = None
    output_size: int | None = None
    """Bytes of output, once it has ended."""

    @property
    def is_running(self) -> bool:
        return self.presence == "present" and self.alive and not self.exit_status

    @property
    def is_terminal(self) -> bool:
        return bool(self.exit_status)

    @property
    def succeeded(self) -> bool:
        return self.exit_status == "0"

    @property
    def is_lost(self) -> bool:
        """Claimed, not ended, and nobody there: the host rebooted, or the wrapper was killed."""
        return self.presence == "present" and not self.exit_status and not self.alive

    @property
    def has_failed(self) -> bool:
        """Anything but running or ended well."""
        return self.presence == "absent" or self.is_lost or (self.is_terminal and not self.succeeded)

    @property
    def outcome(self) -> str:
        """The end in words."""
        if self.presence == "absent":
            return "its folder is gone"
        if self.is_lost:
            return (
                "lost: the host was restarted"
                if self.rebooted
                else "lost: its wrapper is gone without an exit code"
            )
        return (
            describe_exit(int(self.exit_status))
            if self.exit_status.isdigit()
            else self.exit_status or "running"
        )


def describe_exit(code: int) -> str:
    """An exit code as bash (128 + signal) or torchrun (negative) gives it, in words."""
    signal = -code if code < 0 else code - 128
    return f"killed by signal {signal}" if 0 < signal <= 64 else f"exit code {code}"
