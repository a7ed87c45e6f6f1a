"""What the page's API answers about a run's dataset."""

from __future__ import annotations

from pydantic import Field

from sqltune.config.data_limits import OnExcess
from sqltune.node_contracts.data_check import DataCheck
from ssh_gang.model import Model


class DataLimit(Model):
    """One limit of the recipe, and what was found."""

    limit: str = Field(
        description="Setting in the recipe's data_limits; `fields` for fields that the rows lost."
    )
    count: int = Field(description="Rows, questions or fields that were found.")
    total: int = Field(description="Of how many.")
    allowed: float = Field(description="Largest share that is within the limit, from 0 to 1.")
    exceeded: bool = Field(description="Whether more was found than is allowed.")


class DataPage(Model):
    """What the data check found, against the recipe's limits."""

    repo: str = Field(description="Dataset repository.")
    commit: str = Field(description="The run's commit.")
    on_excess: OnExcess = Field(description="What happens when a limit is exceeded.")
    accepted: bool = Field(description="Whether the form accepts the data all the same.")
    limits: list[DataLimit] = Field(description="Every limit that applies; none before the check.")
    check: DataCheck | None = Field(description="What was found; None before `download_dataset`.")
