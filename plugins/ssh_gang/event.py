"""What a trigger reports to its operator: models that both import, JSON only on their way."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from ssh_gang.progress import Progress


class GangEvent(BaseModel):
    """How a gang ended."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    ok: bool = Field(description="Whether every member ended with exit code 0.")
    attempt: str = Field(description="The attempt that ended.")
    reason: str = Field(description="Why it ended, in one line: who failed first, and how; or which limit.")
    failed_host: str | None = Field(
        None, description="The host that failed first; None where nothing failed or no host is to blame."
    )
    failed_rank: int | None = Field(
        None, description="The rank that failed first, where torchrun's output names one."
    )
    failed_exit: str = Field(
        "", description="How it failed, such as `exit code 1`; empty where its own end is not the reason."
    )
    failed_code: int | None = Field(
        None,
        description=(
            "Exit code of the program or rank that failed first, as bash or torchrun gives it; None where "
            "none ended by itself: they were stopped, a host was lost, or a limit was exceeded."
        ),
    )
    tail: str = Field("", description="The last lines of the log of the host or rank that failed first.")
    first_errors: tuple[str, ...] = Field((), description="What each host that has one failed with first.")
    seconds: float = Field(description="Seconds from the start signal to the last state of the slowest host.")
    launch_skew: float | None = Field(
        None, description="Seconds between the first and the last host's start; None where it is not known."
    )
    launch_skew_error: float | None = Field(
        None, description="Seconds by which `launch_skew` may be off: the clocks are compared over SSH."
    )
    progress: Progress | None = Field(
        None, description="The last step, where the gang has a `progress_pattern` and a line matched it."
    )


class HostsFreeEvent(BaseModel):
    """Whether a gang that waited for its hosts has got them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    free: bool = Field(description="Whether no other exclusive gang runs on the hosts any more.")
    reason: str = Field(description="The same in one line; names the limit that was exceeded.")
