"""What a revision of the dataset may change before a person is needed."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ssh_gang.model import Model

OnExcess = Literal["stop", "ask", "tell"]


class DataLimits(Model):
    """Limits of the data check, before anything is trained. Shares are from 0 to 1.

    Lost and changed questions are counted against the newest older commit that was trained and passed by the
    gate on the cluster; where there is none, these two limits do not apply.
    """

    max_lost: float = Field(
        0.1, ge=0, le=1, description="Largest share of the earlier revision's questions that may be gone."
    )
    max_changed: float = Field(
        0.3,
        ge=0,
        le=1,
        description="Largest share of the earlier revision's questions that may have another answer.",
    )
    max_invalid: float = Field(
        0.01, ge=0, le=1, description="Largest share of rows without a question, a context or an answer."
    )
    max_unusable: float = Field(
        0.05, ge=0, le=1, description="Largest share of rows whose answer does not run in SQLite."
    )
    max_contradictory: float = Field(
        0.05,
        ge=0,
        le=1,
        description="Largest share of questions with several answers over the same schema.",
    )
    on_excess: OnExcess = Field(
        "stop",
        description="What happens when a limit is exceeded. stop: the run fails, unless its form accepts the "
        "data. ask: a person decides. tell: it is logged.",
    )
