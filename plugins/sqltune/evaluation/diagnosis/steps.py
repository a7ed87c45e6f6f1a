"""The error classes of a wrong answer, and the order of repair that decides which one is the primary."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Literal, get_args

ErrorClass = Literal[
    "sub-query",
    "table",
    "join",
    "column",
    "function",
    "condition",
    "value",
    "grouping",
    "ordering",
    "other",
]

ERROR_CLASSES: tuple[ErrorClass, ...] = get_args(ErrorClass)
"""Every class, in the order in which reports list them."""


class Step(IntEnum):
    """What a difference is about, in the order in which one would repair an answer."""

    NESTING = 0
    """One nests or combines queries where the other does not, or in another way."""
    TABLES = 1
    """One reads columns of a table that the other does not read."""
    JOINS = 2
    """Tables are joined otherwise, or one that connects or counts rows is missing or too many."""
    GROUPED = 3
    """One groups, the other does not."""
    COLUMNS = 4
    """Another, a missing or an additional column in the result, or another one in a condition."""
    FUNCTIONS = 5
    """Another, a missing or an additional function or calculation on the same column."""
    CONDITIONS = 6
    """A missing or additional condition, another operator, AND for OR."""
    VALUES = 7
    """Another literal in the same comparison."""
    GROUPS = 8
    """Grouped by other columns."""
    ORDER = 9
    """Ordered by another column, in another direction, or with another LIMIT."""
    EQUAL_COLUMN = 10
    """The other one of two columns that are joined: equal, unless their types differ."""
    FORM = 11
    """The same meaning in another form, which may repeat or drop rows."""
    UNUSED_TABLE = 12
    """A table too many or missing that is joined by its key and not used."""
    REST = 13
    """DISTINCT, or nothing that the syntax trees show."""


CLASS_OF_STEP: dict[Step, ErrorClass] = {
    Step.NESTING: "sub-query",
    Step.TABLES: "table",
    Step.JOINS: "join",
    Step.GROUPED: "grouping",
    Step.COLUMNS: "column",
    Step.FUNCTIONS: "function",
    Step.CONDITIONS: "condition",
    Step.VALUES: "value",
    Step.GROUPS: "grouping",
    Step.ORDER: "ordering",
    Step.EQUAL_COLUMN: "column",
    Step.FORM: "sub-query",
    Step.UNUSED_TABLE: "join",
    Step.REST: "other",
}


@dataclass(frozen=True)
class Difference:
    """One difference between an answer and its gold query.

    Attributes:
        step: what it is about.
        text: what the answer does, as a short sentence without its subject.
    """

    step: Step
    text: str

    @property
    def error_class(self) -> ErrorClass:
        """The class that the difference belongs to."""
        return CLASS_OF_STEP[self.step]
