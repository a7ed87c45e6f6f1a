"""One run's answers before and after, side by side."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, NamedTuple

from sqlalchemy import ColumnElement, Select, String, and_, cast, func, not_, or_, select
from sqlalchemy.orm import aliased

from sqltune.records import database
from sqltune.records.evaluations import JudgementRecord, Phase, judgement_from_row
from sqltune.records.models import Answer, Judgement, Question
from sqltune.records.questions import QuestionRecord, from_row
from sqltune.records.runs import number

Change = Literal["gained", "lost", "both_right", "both_wrong"]


@dataclass(frozen=True)
class AnswerFilter:
    """Which of a run's answers are shown; None shows all."""

    change: Change | None = None
    outcome: str | None = None
    """Of the candidate's answer."""
    failure_class: str | None = None
    """Of the candidate's answer."""
    language: str | None = None
    hardness: str | None = None
    database: str | None = None
    text: str | None = None
    """A text that the question, the gold query or an answer's query contains, in any case."""
    name: str | None = None
    """Of the question."""
    without_tag: str | None = None
    """Leaves out the questions with this tag."""
    without_outcome: str | None = None
    """Leaves out the questions whose candidate's answer has this outcome."""


@dataclass(frozen=True)
class ComparedAnswer:
    """One question with both models' answers."""

    question: QuestionRecord
    before: JudgementRecord
    after: JudgementRecord


class AnswerColumns(NamedTuple):
    """What a list shows of one model's answer."""

    sql: str
    outcome: str
    failure_class: str | None
    error_class: str | None
    vacuous: bool


class ComparedLine(NamedTuple):
    """One question with both models' answers, as far as a list shows them."""

    question: QuestionRecord
    before: AnswerColumns
    after: AnswerColumns


@dataclass(frozen=True)
class ComparedLines:
    """A page of a run's questions."""

    total: int
    """How many questions the filter leaves."""
    rows: list[ComparedLine]


class JudgedQuestion(NamedTuple):
    """One model's outcome on a question, without the texts."""

    question: int
    """Number of the question, by which two models' outcomes are paired."""
    name: str
    context: str
    database: str | None
    tags: list[str]
    outcome: str


@dataclass(frozen=True)
class ComparedAnswers:
    """A page of a run's answers."""

    total: int
    """How many answers the filter leaves."""
    rows: list[ComparedAnswer]


_before, _after = aliased(Judgement), aliased(Judgement)
_answer_before, _answer_after = aliased(Answer), aliased(Answer)


def compare(
    run_key: str,
    shown: AnswerFilter | None = None,
    limit: int = 100,
    offset: int = 0,
    against: str | None = None,
) -> ComparedAnswers:
    """Return one run's answers before and after, filtered, in the suite's order.

    Args:
        run_key: The run.
        shown: Which answers.
        limit: How many at most.
        offset: How many of the first ones are left out.
        against: Another run, whose candidate takes the place of "before"; of the questions that both
            candidates answered.
    """
    with database.reading() as session:
        run = number(session, run_key)
        other = number(session, against) if against else None
        conditions = [*_conditions(shown or AnswerFilter())]
        total = session.scalar(_pairs(select(func.count()), run, other).where(*conditions)) or 0
        statement = (
            _pairs(select(Question, _before, _answer_before, _after, _answer_after), run, other)
            .outerjoin(_answer_before, _answer_before.id == _before.answer_id)
            .outerjoin(_answer_after, _answer_after.id == _after.answer_id)
            .where(*conditions)
            .order_by(_after.position)
            .limit(limit)
            .offset(offset)
        )
        return ComparedAnswers(total=total, rows=[_compared(*row) for row in session.execute(statement)])


def lines(
    run_key: str, shown: AnswerFilter, limit: int, offset: int = 0, against: str | None = None
) -> ComparedLines:
    """Return what a list shows of one run's questions; the arguments are those of `compare`.

    It selects columns: a list of 2,000 questions would else be made of 10,000 mapped objects.
    """
    with database.reading() as session:
        run = number(session, run_key)
        other = number(session, against) if against else None
        conditions = _conditions(shown)
        total = session.scalar(_pairs(select(func.count()), run, other).where(*conditions)) or 0
        statement = (
            _pairs(
                select(*_QUESTION_COLUMNS, *_answer_columns(_before), *_answer_columns(_after)), run, other
            )
            .where(*conditions)
            .order_by(_after.position)
            .limit(limit)
            .offset(offset)
        )
        return ComparedLines(total=total, rows=[_line(row) for row in session.execute(statement)])


def outcomes(run_key: str, phase: Phase) -> list[JudgedQuestion]:
    """Return the outcomes of one of a run's models, in the suite's order."""
    columns = (Question.id, Question.name, Question.context, Question.database, Question.tags)
    with database.reading() as session:
        statement = (
            select(*columns, Judgement.outcome)
            .join(Judgement, Judgement.question_id == Question.id)
            .where(Judgement.run_id == number(session, run_key), Judgement.phase == phase)
            .order_by(Judgement.position)
        )
        return [JudgedQuestion(*row) for row in session.execute(statement)]


def change(before: str, after: str) -> Change:
    """Return what became of a question, from the outcomes of its two answers."""
    return _CHANGES[before == "match", after == "match"]


def _compared(
    question: Question,
    before: Judgement,
    answer_before: Answer | None,
    after: Judgement,
    answer_after: Answer | None,
) -> ComparedAnswer:
    asked = from_row(question)
    return ComparedAnswer(
        question=asked,
        before=judgement_from_row(before, asked, answer_before),
        after=judgement_from_row(after, asked, answer_after),
    )


_CHANGES: dict[tuple[bool, bool], Change] = {
    (False, True): "gained",
    (True, False): "lost",
    (False, False): "both_wrong",
    (True, True): "both_right",
}


_QUESTION_COLUMNS = [getattr(Question, field.name) for field in fields(QuestionRecord)]


def _answer_columns(judgement: type[Judgement]) -> list[Any]:
    return [getattr(judgement, name) for name in AnswerColumns._fields]


def _line(row: Sequence[Any]) -> ComparedLine:
    before, after = len(_QUESTION_COLUMNS), len(_QUESTION_COLUMNS) + len(AnswerColumns._fields)
    return ComparedLine(
        QuestionRecord(*row[:before]), AnswerColumns(*row[before:after]), AnswerColumns(*row[after:])
    )


def _pairs(statement: Select[*tuple[Any, ...]], run: int, other: int | None) -> Select[Any]:
    """A run's answers after, each with the one before it; or with that of another run's candidate."""
    if other is None:
        before = and_(_before.run_id == run, _before.phase == "before", _before.position == _after.position)
    else:
        before = and_(_before.run_id == other, _before.phase == "after")
    return (
        statement.select_from(_after)
        .join(_before, and_(before, _before.question_id == _after.question_id))
        .join(Question, Question.id == _after.question_id)
        .where(_after.run_id == run, _after.phase == "after")
    )


def _conditions(shown: AnswerFilter) -> list[ColumnElement[bool]]:
    right_before, right_after = _before.outcome == "match", _after.outcome == "match"
    changes: dict[Change, ColumnElement[bool]] = {
        "gained": and_(not_(right_before), right_after),
        "lost": and_(right_before, not_(right_after)),
        "both_right": and_(right_before, right_after),
        "both_wrong": and_(not_(right_before), not_(right_after)),
    }
    conditions: list[ColumnElement[bool]] = []
    if shown.change is not None:
        conditions.append(changes[shown.change])
    for column, value in (
        (_after.outcome, shown.outcome),
        (_after.failure_class, shown.failure_class),
        (Question.language, shown.language),
        (Question.hardness, shown.hardness),
        (Question.database, shown.database),
        (Question.name, shown.name),
    ):
        if value is not None:
            conditions.append(column == value)
    if shown.without_outcome is not None:
        conditions.append(_after.outcome != shown.without_outcome)
    if shown.without_tag is not None:
        tag = json.dumps(shown.without_tag)
        conditions.append(not_(cast(Question.tags, String).contains(tag, autoescape=True)))
    if shown.text is not None:
        columns = (Question.question, Question.gold, _before.sql, _after.sql)
        conditions.append(or_(*(column.icontains(shown.text, autoescape=True) for column in columns)))
    return conditions
