"""Questions for the tests of the gold audit."""

from __future__ import annotations

from sqltune.evaluation.questions import Question

CONTEXT = "CREATE TABLE city (id NUMBER, name VARCHAR, province VARCHAR, gdp NUMBER, founded TIME)"


def question(text: str, gold: str, name: str = "q", context: str = CONTEXT, database: str | None = None):
    """A question; by default on a table of cities, without a database."""
    return Question(id=name, question=text, gold=gold, context=context, database=database)
