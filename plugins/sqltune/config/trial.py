"""A trial of a candidate that passed the gate, before it is promoted: `serving.trial` of a cluster file."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator

from ssh_gang.model import Model


class Trial(Model):
    """Whether and how a candidate is tried on real requests, and what it must keep to be promoted."""

    mode: Literal["off", "shadow", "canary"] = Field(
        "off",
        description="off: a candidate that passed the gate is promoted at once. shadow: it answers copies of "
        "users' requests before, and nobody sees its answers. canary: it answers a share of them. Both need "
        "memory for a second model for as long as the trial takes; with adapters: unmerged, for a second "
        "adapter. The first model of a cluster has no trial.",
    )
    share: float = Field(
        0.1,
        gt=0,
        le=1,
        description="Share of the requests under the public name that the candidate gets, from 0 to 1.",
    )
    minutes: float = Field(
        60, gt=0, le=4320, description="How long the trial takes; the cluster's next run waits for its end."
    )
    min_requests: int = Field(
        50,
        ge=1,
        description="Requests that each of the two models must have got. With fewer the trial says nothing: "
        "the candidate is promoted, and the verdict has a remark. A candidate that has answered none, where "
        "the served model got that many, is held back.",
    )
    max_failed_share: float = Field(
        0.02,
        ge=0,
        le=1,
        description="Share of its requests that the candidate may fail to answer, beyond the share that the "
        "served model fails to. Beyond it the candidate is held back, and the trial ends early.",
    )
    max_slowdown: float = Field(
        1.5,
        gt=0,
        description="Median latency of the candidate's answers over that of the served model's, beyond which "
        "it is held back.",
    )
    answer_within: float = Field(
        60,
        gt=0,
        description="Seconds within which the candidate must have answered a copy, and in a canary must "
        "begin to answer (an answer that is no stream: have answered). After that it has failed, and in a "
        "canary the served model answers, for which the client has waited that much longer.",
    )

    @field_validator("mode", mode="before")
    @classmethod
    def _read_off(cls, mode: Any) -> Any:
        # YAML reads off as false.
        return "off" if mode is False else mode

    @property
    def is_on(self) -> bool:
        """Whether a candidate is tried."""
        return self.mode != "off"
