"""Before and after as the page shows them: the numbers, and question by question."""

from __future__ import annotations

from sqltune.evaluation import stored
from sqltune.evaluation.score import Score
from sqltune.evaluation.statistics import wilson
from sqltune.records import comparisons
from sqltune.records.comparisons import AnswerFilter, ComparedAnswer
from sqltune.records.evaluations import JudgementRecord, Phase
from sqltune.ui import contracts
from sqltune.ui.errors import NotRecorded


def comparison(key: str) -> contracts.Comparison:
    """Return a run's result before and after, in numbers."""
    verdict = stored.verdict(key)
    return contracts.Comparison(
        before=_side(key, "before"),
        after=_side(key, "after"),
        reference=_side(key, "reference"),
        buckets=comparisons.buckets(key),
        paired=verdict.comparison if verdict else None,
        passed=verdict.passed if verdict else None,
        headline=verdict.headline if verdict else None,
        rules=list(verdict.rules) if verdict else [],
    )


def answers(key: str, shown: AnswerFilter, limit: int, offset: int) -> contracts.Answers:
    """Return a run's questions with both answers, filtered, in the suite's order."""
    found = comparisons.compare(key, shown, limit, offset)
    return contracts.Answers(total=found.total, questions=[_question(row) for row in found.rows])


def question(key: str, name: str) -> contracts.Question:
    """Return one question of a run with both answers.

    Raises:
        NotRecorded: The run has not been evaluated on that question.
    """
    rows = comparisons.compare(key, AnswerFilter(name=name), limit=1).rows
    if not rows:
        raise NotRecorded(f"run {key!r} has no question {name!r} that both models answered")
    return _question(rows[0])


def _side(key: str, phase: Phase) -> contracts.Side | None:
    score: Score | None = stored.score(key, phase)
    if score is None:
        return None
    return contracts.Side(
        model=score.model, summary=score.summary, interval=wilson(score.matched, score.questions)
    )


def _question(row: ComparedAnswer) -> contracts.Question:
    asked = row.question
    return contracts.Question(
        id=asked.name,
        question=asked.question,
        context=asked.context,
        gold=asked.gold,
        database=asked.database,
        language=asked.language,
        hardness=asked.hardness,
        guarded=asked.must_not_break,
        change=comparisons.change(row),
        before=_answer(row.before),
        after=_answer(row.after),
    )


def _answer(judged: JudgementRecord) -> contracts.Answer:
    return contracts.Answer(
        text=judged.answer,
        sql=judged.sql,
        outcome=judged.outcome,
        reason=judged.reason,
        failure_class=judged.failure_class,
        correct=judged.outcome == "match",
        vacuous=judged.vacuous,
    )
