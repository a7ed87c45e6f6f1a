"""The gate's rules."""

from __future__ import annotations

from pydantic import Field

from ssh_gang.model import Model


class GateRules(Model):
    """When a candidate may be served: `include/configs/gate.yaml`.

    Shares are from 0 to 1. A difference is the candidate's share of correct answers minus the share of the
    model that is served.
    """

    confidence: float = Field(
        gt=0.5, lt=1, description="Confidence level of the interval around the difference."
    )
    margin: float = Field(
        ge=0,
        le=1,
        description="How much worse the candidate may be, at the lower end of the interval.",
    )
    min_gain: float = Field(ge=-1, le=1, description="Smallest difference that passes.")
    min_questions: int = Field(ge=1, description="Fewest questions that a comparison needs.")
    floor: float = Field(ge=0, le=1, description="Smallest share of correct answers that passes.")
    max_invalid: float = Field(
        ge=0, le=1, description="Largest share of answers whose SQL does not run that passes."
    )
    max_vacuous: float = Field(
        ge=0, le=1, description="Largest share of the correct answers with two empty results that passes."
    )
    max_latency: float | None = Field(
        None,
        gt=0,
        description="Longest p95 latency of the candidate that passes, in seconds: 95 % of its answers come "
        "within it; None: no limit.",
    )
    max_slowdown: float | None = Field(
        None,
        gt=0,
        description="Largest p95 latency that passes as a multiple of the served model's; None: no limit.",
    )
