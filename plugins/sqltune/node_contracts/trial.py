"""A trial of a candidate beside the model that is served: what it is to be, and what it has shown."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from sqltune.node_contracts.script import NodeModel

TrialMode = Literal["shadow", "canary"]
"""shadow: the candidate answers copies of requests, for nobody. canary: it answers a share of them."""


class TrialTerms(NodeModel):
    """What a trial is to be."""

    id: str = Field(min_length=1, description="What is tried; a trial of this id that goes on is kept.")
    model_hash: str = Field(
        "", description="Hash of the candidate's model; one trained anew under the same id is tried anew."
    )
    mode: TrialMode = Field(description="shadow or canary.")
    share: float = Field(gt=0, le=1, description="Share of the requests that the candidate gets.")
    seconds: float = Field(gt=0, description="Seconds after which it ends by itself.")
    answer_within: float = Field(
        gt=0, description="Seconds for a copy's answer, and in a canary until the candidate's answer begins."
    )


class TrialArm(NodeModel):
    """What one of the two models did."""

    version: str = Field(description="Its version; empty: not known yet.")
    answered: int = Field(ge=0, description="Requests that it answered.")
    failed: int = Field(ge=0, description="Requests that it failed to answer.")
    median: float | None = Field(description="Median latency of its answers in seconds; None: no answer.")

    @property
    def asked(self) -> int:
        """Requests that it got."""
        return self.answered + self.failed

    @property
    def failed_share(self) -> float:
        """Share of its requests that it failed to answer, from 0 to 1."""
        return self.failed / self.asked if self.asked else 0.0


class TrialReport(NodeModel):
    """What a trial has shown so far."""

    id: str = Field(description="What is tried.")
    mode: TrialMode = Field(description="shadow or canary.")
    seconds_left: float = Field(description="Seconds until it ends by itself; 0: it has ended.")
    champion: TrialArm = Field(
        description="The model that is served; in a shadow, only the answers of which a copy was sent."
    )
    candidate: TrialArm = Field(description="The model that is tried.")
    same: int = Field(ge=0, description="Greedy answers to copies that were the champion's text.")
    different: int = Field(ge=0, description="Those that were another text.")
    dropped: int = Field(ge=0, description="Copies that were not sent, as too many were on their way.")
