"""Before and after as the page shows them: the numbers, and question by question."""

from __future__ import annotations

from collections import Counter
from typing import get_args

from sqltune.evaluation import stored
from sqltune.evaluation.questions import REFERENCE
from sqltune.evaluation.statistics import compare, wilson
from sqltune.records import comparisons
from sqltune.records.comparisons import AnswerFilter, ComparedAnswer
from sqltune.records.evaluations import JudgementRecord, Phase
from sqltune.ui import contracts
from sqltune.ui.errors import NotRecorded

MOST_QUESTIONS = 10_000
"""The most that a recipe can evaluate."""


def comparison(key: str, against: str | None = None) -> contracts.Comparison:
    """Return a run's result before and after, in numbers.

    Args:
        key: The run.
        against: Another run, whose candidate takes the place of "before"; there is no verdict then.
    """
    verdict = None if against else stored.verdict(key)
    buckets = Counter(
        comparisons.change(pair.before, pair.after)
        for pair in comparisons.outcomes(key, against)
        if _counts(pair.tags, pair.after)
    )
    pairs = buckets.total()
    return contracts.Comparison(
        before=_side(against, "after") if against else _side(key, "before"),
        after=_side(key, "after"),
        reference=None if against else _side(key, "reference"),
        buckets={change: buckets[change] for change in get_args(contracts.Change)},
        paired=compare(pairs, buckets["gained"], buckets["lost"]) if pairs else None,
        passed=verdict.passed if verdict else None,
        headline=verdict.headline if verdict else None,
        rules=list(verdict.rules) if verdict else [],
    )


def questions(
    key: str, shown: AnswerFilter, limit: int, offset: int, against: str | None = None
) -> contracts.Questions:
    """Return a run's questions with what both models made of them, filtered, in the suite's order."""
    page = comparisons.compare(key, shown, limit, offset, against)
    return contracts.Questions(
        total=page.total,
        questions=[contracts.QuestionLine.model_validate(_fields(row), extra="ignore") for row in page.rows],
    )


def whole_questions(key: str) -> list[contracts.Question]:
    """Return every question of a run with both answers, in the suite's order."""
    rows = comparisons.compare(key, limit=MOST_QUESTIONS).rows
    return [contracts.Question.model_validate(_fields(row)) for row in rows]


def question(key: str, name: str, against: str | None = None) -> contracts.Question:
    """Return one question of a run with both answers.

    Raises:
        NotRecorded: The run has not been evaluated on that question.
    """
    rows = comparisons.compare(key, AnswerFilter(name=name), limit=1, against=against).rows
    if not rows:
        raise NotRecorded(f"run {key!r} has no question {name!r} that both models answered")
    return contracts.Question.model_validate(_fields(rows[0]))


def _side(key: str, phase: Phase) -> contracts.Side | None:
    summary = stored.summary(key, phase)
    if summary is None:
        return None
    interval = wilson(summary.matched, summary.questions)
    return contracts.Side(model=summary.model, summary=summary, interval=interval)


def _counts(tags: list[str], outcome: str) -> bool:
    """Whether a question enters the numbers, from its tags and the outcome of the candidate's answer."""
    return REFERENCE not in tags and outcome != "gold_invalid"


def _fields(row: ComparedAnswer) -> dict[str, object]:
    asked = row.question
    return {
        "id": asked.name,
        "question": asked.question,
        "context": asked.context,
        "gold": asked.gold,
        "database": asked.database,
        "language": asked.language,
        "hardness": asked.hardness,
        "guarded": asked.must_not_break,
        "counted": _counts(asked.tags, row.after.outcome),
        "change": comparisons.change(row.before.outcome, row.after.outcome),
        "before": _answer(row.before),
        "after": _answer(row.after),
    }


def _answer(judged: JudgementRecord) -> dict[str, object]:
    return {
        "text": judged.answer,
        "sql": judged.sql,
        "outcome": judged.outcome,
        "reason": judged.reason,
        "failure_class": judged.failure_class,
        "error_class": judged.error_class,
        "correct": judged.outcome == "match",
        "vacuous": judged.vacuous,
    }
