"""State of a gang on one host, with questions on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Presence = Literal["absent", "present"]


@dataclass(frozen=True, kw_only=True)
class JobState:
    """State of a gang on one host. Times are seconds since the epoch on the host's clock.

    Attributes:
        presence: Whether the gang has a folder on the host.
        attempt: The attempt that owns the folder.
        fencing_token: Its fencing token.
        generation: Its generation.
        spec_hash: Hash of what it runs.
        alive: Whether its wrapper (the process of `job.sh`) is running.
        rebooted: Whether the host was restarted since the wrapper was started.
        started_at: When the command was started; None before the start signal.
        ranks_started: Ranks that torchrun has started.
        exit_status: Exit code of the command, or `not_started`, `stopped` or `refused`; empty before the end.
        ended_at: When it ended.
        output_size: Bytes of output; None before the end.
    """

    presence: Presence
    attempt: str = ""
    fencing_token: int = 0
    generation: int = 0
    spec_hash: str = "-"
    alive: bool = False
    rebooted: bool = False
    started_at: float | None = None
    ranks_started: int = 0
    exit_status: str = ""
    ended_at: float | None = None
    output_size: int | None = None

    @property
    def is_running(self) -> bool:
        """Whether the wrapper is alive and has not recorded an end."""
        return self.presence == "present" and self.alive and not self.exit_status

    @property
    def is_terminal(self) -> bool:
        """Whether an end was recorded."""
        return bool(self.exit_status)

    @property
    def succeeded(self) -> bool:
        """Whether the command ended with exit code 0, and the operator did not refuse the result."""
        return self.exit_status == "0"

    @property
    def is_lost(self) -> bool:
        """Whether the wrapper is gone and recorded no end: it was killed, or the host was restarted."""
        return self.presence == "present" and not self.exit_status and not self.alive

    @property
    def has_failed(self) -> bool:
        """Whether the gang is neither running nor ended with success on this host."""
        return self.presence == "absent" or self.is_lost or (self.is_terminal and not self.succeeded)

    @property
    def exit_code(self) -> int | None:
        """The command's exit code; None before the end, and where it did not end by itself."""
        return int(self.exit_status) if self.exit_status.isdigit() else None

    @property
    def outcome(self) -> str:
        """How the gang ended on this host, for a log line; `running` where it has not ended."""
        if self.presence == "absent":
            return "its folder is gone"
        if self.is_lost:
            cause = "the host was restarted" if self.rebooted else "its wrapper is gone without an exit code"
            return f"lost: {cause}"
        if self.exit_code is not None:
            return describe_exit(self.exit_code)
        return _OUTCOMES.get(self.exit_status, self.exit_status) or "running"


_OUTCOMES = {
    "not_started": "cancelled before the start signal",
    "refused": "ended with exit code 0, but without evidence that it did its work",
}


def describe_exit(code: int) -> str:
    """Describe an exit code as bash (128 + signal) or torchrun (negative signal) gives it."""
    signal = -code if code < 0 else code - 128
    return f"killed by signal {signal}" if 0 < signal <= 64 else f"exit code {code}"
