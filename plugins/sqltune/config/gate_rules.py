"""The gate's rules."""

from __future__ import annotations

from pydantic import Field

from ssh_gang.model import Model


class GateRules(Model):
    """When a new model may serve: `include/configs/gate.yaml`. Shares are of 1; a difference is the new model's share of right answers minus the old one's."""

    confidence: float = Field(gt=0.5, lt=1, description="Level of the interval around the difference.")
    margin: float = Field(
        ge=0, le=1, description="How much worse the new model may truly be, at the interval's lower end."
    )
    min_gain: float = Field(ge=-1, le=1, description="How much more it must answer right.")
    min_questions: int = Field(ge=1, description="Questions below which a comparison proves nothing.")
    floor: float = Field(ge=0, le=1, description="Share of right answers below which nothing serves.")
    max_invalid: float = Field(ge=0, le=1, description="Share of answers that may not run.")
    max_vacuous: float = Field(
        ge=0, le=1, description="Share of the right answers whose results may both be empty."
    )
