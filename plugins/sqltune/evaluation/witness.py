"""What a witness is: the smallest database found on which a gold query and an answer differ."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from sqltune.evaluation.row_difference import DifferenceKind
from ssh_gang.model import Model

Cell = None | int | float | str
"""A value; blobs and infinities are texts, and long texts are cut."""


class WitnessTable(Model):
    """A table of a witness."""

    name: str = Field(description="Name of the table.")
    columns: tuple[str, ...] = Field(description="Names of its columns.")
    read: tuple[str, ...] = Field(description="Columns that one of the queries reads.")
    create: str = Field(description="Its CREATE TABLE statement.")
    rows: tuple[tuple[Cell, ...], ...] = Field(description="Its rows; of many, the first.")
    row_count: int = Field(ge=0, description="How many rows it has.")


class WitnessResult(Model):
    """What a query returns on a witness, as it was compared: DISTINCT dropped."""

    columns: tuple[str, ...] = Field(description="Names of its columns.")
    rows: tuple[tuple[Cell, ...], ...] = Field(
        description="Its rows; of many, those that differ come before others."
    )
    row_count: int = Field(ge=0, description="How many rows it has.")
    different: tuple[int, ...] = Field(
        description="Positions in `rows` of those without a partner in the other result."
    )


class Witness(Model):
    """The smallest database found on which a gold query and an answer differ, and what they return on it."""

    source: Literal["real", "synthetic"] = Field(
        description="`real`: rows of the question's database; `synthetic`: generated rows."
    )
    tables: tuple[WitnessTable, ...] = Field(description="The tables that the two queries read.")
    gold: WitnessResult = Field(description="What the gold query returns.")
    answer: WitnessResult = Field(description="What the answer returns.")
    difference: DifferenceKind = Field(description="How the results differ.")
    distinct_dropped: bool = Field(description="A query has DISTINCT, which the comparison leaves out.")
    tied: bool = Field(
        description="Rows tie under the gold query's ORDER BY, so that it has several correct answers."
    )
    small: bool = Field(description="Whether no table has more than three rows.")
    minimal: bool = Field(
        description="Whether no row can be removed, with those that refer to it, without the queries "
        "agreeing; if not, the search ended at its limit."
    )
    comparisons: int = Field(ge=0, description="Databases that the search compared the queries on.")
