"""The rules of the gold audit: one function each, from the facts to what it found.

A flag must be worth a person's minute: a rule that is not sure finds nothing. How often each is right was
measured by reading (docs/verdict.md).
"""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass

from sqltune.evaluation.audit.literal_rules import Literals
from sqltune.evaluation.judge import Match
from sqltune.evaluation.questions import Question
from sqltune.sql.schema import parse_context
from sqltune.sql.tokens import meaningful, tokens

_AGGREGATES = {"avg", "sum", "min", "max", "count"}
_SATISFIED_BY_LUCK = frozenset({"having", "intersect", "+", "-", "/", "||"})
_DIGITS_OF_YEAR = 4
_NOT_ARITHMETIC_BEFORE = {"(", ",", ".", "select", "distinct"}
"""What stands before an asterisk that means all columns, and no product."""


@dataclass(frozen=True)
class GoldFacts:
    """What is known of a question's gold query.

    Attributes:
        question: the question.
        on_rows: the query against itself on the question's database, or on synthetic ones.
        on_synthetic: the same on synthetic databases, where it was tried.
        literals: the literals of question and query.
        contradicted_by: ids of the questions with the same text and schema, and a gold query that returns
            other rows.
    """

    question: Question
    on_rows: Match
    on_synthetic: Match | None
    literals: Literals
    contradicted_by: tuple[str, ...] = ()

    @property
    def runs(self) -> bool:
        """Whether the query runs."""
        return self.on_rows.outcome != "gold_invalid"


def does_not_run(facts: GoldFacts) -> str:
    """The query does not run on the question's database."""
    return "" if facts.runs else facts.on_rows.reason


def empty_everywhere(facts: GoldFacts) -> str:
    """The query returns no rows, neither from the database nor from rows made to satisfy its conditions."""
    empty = facts.on_rows.vacuous and facts.on_synthetic is not None and facts.on_synthetic.vacuous
    return "no rows, and none from synthetic rows that satisfy each of its conditions" if empty else ""


def can_be_satisfied(question: Question) -> bool:
    """Whether synthetic rows aim at everything that a gold query asks for: columns compared with literals.

    Rows for a sum, an average, the size of a group, a calculation or an intersection, and what is left of the
    first few, are found by luck: that there are none says nothing about the query. Neither does it where a
    column of dates is compared with a time of day or a year of three digits.
    """
    query = meaningful(tokens(question.gold))
    words = [t.key or t.text for t in query]
    if not _SATISFIED_BY_LUCK.isdisjoint(words) or {"except", "limit"} <= set(words):
        return False
    if any(b == "*" and a not in _NOT_ARITHMETIC_BEFORE for a, b in itertools.pairwise(words)):
        return False
    if any(t.kind == "text" and ":" in t.text for t in query):
        return False
    return not any(
        (a.text == "(" and b.key == "select" and c.key in _AGGREGATES)
        or (c.kind == "number" and len(c.text) < _DIGITS_OF_YEAR and a.identifier in _times(question.context))
        for a, b, c in zip(query, query[1:], query[2:], strict=False)
    )


def _times(context: str) -> frozenset[str]:
    """The columns of a context that hold dates or times, in lower case."""
    try:
        tables, _ = parse_context(context)
    except sqlite3.Error:
        return frozenset()
    return frozenset(c.name.lower() for table in tables for c in table.columns if c.kind == "time")


def tie_at_limit(facts: GoldFacts) -> str:
    """Rows at the cut of a LIMIT are equal in the ordering key: which of them are returned is chance."""
    return "rows tie at its LIMIT, and the choice changes the result" if facts.on_rows.tied else ""


def unquoted_date(facts: GoldFacts) -> str:
    """A date without quotes, which SQL computes as a subtraction."""
    found = [
        f"{text} is the number {date.year - date.month - (date.day or 0)}"
        for text, date in facts.literals.gold.unquoted_dates
    ]
    return ", ".join(dict.fromkeys(found))


def missing_comma(facts: GoldFacts) -> str:
    """Two columns without a comma between them: the second is taken for an alias of the first."""
    names = facts.literals.names
    query = meaningful(tokens(facts.question.gold))
    found = [
        f"{a.text} {b.text}"
        for a, b, c in zip(query, query[1:], query[2:], strict=False)
        if a.identifier in names and b.identifier in names and (c.text == "," or c.key == "from")
    ]
    return ", ".join(found)


def literal_not_in_question(facts: GoldFacts) -> str:
    """The query compares with a literal that the question does not contain."""
    return ", ".join(facts.literals.not_in_question())


def literal_not_in_gold(facts: GoldFacts) -> str:
    """The question contains a literal that the query does not compare with."""
    return ", ".join(facts.literals.not_in_gold())


def contradictory_golds(facts: GoldFacts) -> str:
    """The same question on the same schema has another gold query, which returns other rows."""
    others = ", ".join(facts.contradicted_by)
    return f"the same question has another gold query in {others}" if others else ""


Rule = Callable[[GoldFacts], str]

RULES: tuple[Rule, ...] = (
    does_not_run,
    empty_everywhere,
    tie_at_limit,
    unquoted_date,
    missing_comma,
    literal_not_in_question,
    literal_not_in_gold,
    contradictory_golds,
)
"""Every rule on the question alone, in the order of the report. The name of a function is its reason's id."""
