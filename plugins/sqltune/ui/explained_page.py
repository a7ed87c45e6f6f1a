"""Why an answer was judged as it was, worked out when somebody looks."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from functools import lru_cache

from sqltune.evaluation.explanation import Explanation, explain
from sqltune.evaluation.judge import Pair
from sqltune.ui import comparison_page, contracts

KEPT = 4_096
"""Explanations that a process keeps: those of a suite's questions, before and after."""

_one_at_a_time = threading.Lock()
"""Several people who look at once wait for each other, and never take more than one core."""


def explained(key: str, name: str, against: str | None = None) -> contracts.Explained:
    """Explain both answers to a question of a run.

    Args:
        key: The run.
        name: The question.
        against: Another run, whose candidate takes the place of "before".
    """
    question = comparison_page.question(key, name, against)
    before, after = (_pair(question, answer.sql) for answer in (question.before, question.after))
    with _one_at_a_time:
        return contracts.Explained(before=_explain(before), after=_explain(after))


def explain_all(questions: Iterable[contracts.Question]) -> dict[str, contracts.Explained]:
    """Explain the answers to many questions; by the question's id."""
    asked = list(questions)
    pairs = [_pair(q, answer.sql) for q in asked for answer in (q.before, q.after)]
    explanations = iter(explain(pairs))
    return {q.id: contracts.Explained(before=next(explanations), after=next(explanations)) for q in asked}


def _pair(question: contracts.Question, sql: str) -> Pair:
    return Pair(question.gold, sql, question.context, question.database)


@lru_cache(maxsize=KEPT)
def _explain(pair: Pair) -> Explanation:
    return explain([pair], processes=1)[0]
