"""Evaluations: what each model answered in a run, and what the answers are worth."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from sqlalchemy import delete, select

from sqltune.records import answers, database
from sqltune.records.base import Json
from sqltune.records.models import Answer, Evaluation, Judgement, Question
from sqltune.records.questions import QuestionRecord, from_row, ids_of
from sqltune.records.runs import number, touch
from sqltune.records.types import now

Phase = Literal["before", "after", "reference"]
"""The champion or base model; the candidate; the hosted model."""


@dataclass(frozen=True)
class JudgementRecord:
    """One answer and what it is worth."""

    question: QuestionRecord
    prompt_hash: str
    outcome: str
    sql: str = ""
    """The query that was taken from the answer and executed."""
    reason: str = ""
    strict: bool = False
    exact: bool = False
    vacuous: bool = False
    failure_class: str | None = None
    error_class: str | None = None
    answer: str = ""
    """Filled in when it is read; it is kept with the answers."""

    @property
    def document(self) -> Json:
        """`JudgedAnswer` as JSON."""
        return {
            "id": self.question.name,
            "question": self.question.question,
            "expected_sql": self.question.gold,
            "answer": self.answer,
            "sql": self.sql,
            "outcome": self.outcome,
            "reason": self.reason,
            "strict": self.strict,
            "exact": self.exact,
            "vacuous": self.vacuous,
            "failure_class": self.failure_class,
            "error_class": self.error_class,
            "tags": self.question.tags,
            "must_not_break": self.question.must_not_break,
        }


@dataclass(frozen=True)
class EvaluationRecord:
    """A model's result on a run's suite."""

    model: str
    model_hash: str
    questions: int
    matched: int
    score: Json
    """`Score` without the single answers and the speed."""
    judgements: list[JudgementRecord]
    speed: Json | None = None
    """`Speed`; None where the run generated no answer."""
    at: datetime = field(default_factory=now)

    @property
    def document(self) -> Json:
        """`Score` as JSON, with the single answers."""
        answers = [judgement.document for judgement in self.judgements]
        return self.score | {"speed": self.speed, "answers": answers}


@dataclass(frozen=True)
class EvaluationProgress:
    """How far an evaluation is."""

    phase: str
    answered: int
    questions: int
    is_scored: bool


def put_progress(
    run_key: str,
    phase: Phase,
    model: str,
    model_hash: str,
    answered: int,
    questions: int,
    speed: Json | None = None,
) -> None:
    """Record how many questions of an evaluation are answered.

    Args:
        run_key: The run.
        phase: Which of its models.
        model: Name of the model.
        model_hash: Hash of its weights.
        answered: Questions that have an answer, from whichever run.
        questions: Questions in all.
        speed: `Speed` so far.
    """
    with database.writing() as session:
        run = number(session, run_key)
        row = {
            "run_id": run,
            "phase": phase,
            "model": model,
            "model_hash": model_hash,
            "questions": questions,
            "matched": 0,
            "score": None,
            "speed": speed,
            "answered": answered,
            "at": now(),
        }
        database.upsert(session, Evaluation, [row], keys=["run_id", "phase"])
        touch(session, run)


def progress(run_key: str) -> EvaluationProgress | None:
    """Return how far a run's newest evaluation is, or None before the first."""
    with database.reading() as session:
        row = session.scalar(
            select(Evaluation)
            .where(Evaluation.run_id == number(session, run_key), Evaluation.phase != "reference")
            .order_by(Evaluation.at.desc())
            .limit(1)
        )
        if row is None:
            return None
        return EvaluationProgress(
            phase=row.phase,
            answered=row.answered,
            questions=row.questions,
            is_scored=row.score is not None,
        )


def put(run_key: str, phase: Phase, evaluation: EvaluationRecord, decoding: str) -> None:
    """Record a judged evaluation in place of an earlier one of the same phase.

    Args:
        run_key: The run.
        phase: Which of its models.
        evaluation: The result; its answers must have been kept with `answers.put`.
        decoding: Hash under which they were kept.
    """
    judgements = evaluation.judgements
    with database.writing() as session:
        run = number(session, run_key)
        questions = ids_of(session, [j.question for j in judgements])
        given = answers.rows(session, evaluation.model_hash, decoding, [j.prompt_hash for j in judgements])
        row = {
            "run_id": run,
            "phase": phase,
            "model": evaluation.model,
            "model_hash": evaluation.model_hash,
            "questions": evaluation.questions,
            "matched": evaluation.matched,
            "score": evaluation.score,
            "speed": evaluation.speed,
            "answered": len(given),
            "at": evaluation.at,
        }
        database.upsert(session, Evaluation, [row], keys=["run_id", "phase"])
        session.execute(delete(Judgement).where(Judgement.run_id == run, Judgement.phase == phase))
        rows = [
            {
                "run_id": run,
                "phase": phase,
                "position": position,
                "question_id": questions[j.question.key],
                "answer_id": given[j.prompt_hash].id if j.prompt_hash in given else None,
                "sql": j.sql,
                "outcome": j.outcome,
                "reason": j.reason,
                "strict": j.strict,
                "exact": j.exact,
                "vacuous": j.vacuous,
                "failure_class": j.failure_class,
                "error_class": j.error_class,
            }
            for position, j in enumerate(judgements)
        ]
        database.upsert(session, Judgement, rows, keys=["run_id", "phase", "position"])
        touch(session, run)


def get(run_key: str, phase: Phase) -> EvaluationRecord | None:
    """Return a judged evaluation with its answers in the suite's order, or None."""
    with database.reading() as session:
        run = number(session, run_key)
        row = session.get(Evaluation, (run, phase))
        if row is None or row.score is None:
            return None
        statement = (
            select(Judgement, Question, Answer)
            .join(Question, Question.id == Judgement.question_id)
            .outerjoin(Answer, Answer.id == Judgement.answer_id)
            .where(Judgement.run_id == run, Judgement.phase == phase)
            .order_by(Judgement.position)
        )
        return EvaluationRecord(
            model=row.model,
            model_hash=row.model_hash,
            questions=row.questions,
            matched=row.matched,
            score=row.score,
            judgements=[judgement_from_row(j, from_row(q), a) for j, q, a in session.execute(statement)],
            speed=row.speed,
            at=row.at,
        )


def score(run_key: str, phase: Phase) -> Json | None:
    """Return the numbers of a judged evaluation, `Score` without the single answers, or None."""
    with database.reading() as session:
        row = session.get(Evaluation, (number(session, run_key), phase))
        return None if row is None or row.score is None else row.score | {"speed": row.speed}


def speed(run_key: str, phase: Phase, model_hash: str) -> Json | None:
    """Return how fast a model has answered so far, judged or not, or None.

    Args:
        run_key: The run.
        phase: Which of its models.
        model_hash: Hash of the weights; the speed of another model of this phase is not returned.
    """
    with database.reading() as session:
        row = session.get(Evaluation, (number(session, run_key), phase))
        return row.speed if row and row.model_hash == model_hash else None


def judgement_from_row(row: Judgement, question: QuestionRecord, answer: Answer | None) -> JudgementRecord:
    """Return a stored judgement with its question and answer."""
    return JudgementRecord(
        question=question,
        prompt_hash=answer.prompt_hash if answer else "",
        outcome=row.outcome,
        sql=row.sql,
        reason=row.reason,
        strict=row.strict,
        exact=row.exact,
        vacuous=row.vacuous,
        failure_class=row.failure_class,
        error_class=row.error_class,
        answer=answer.text if answer else "",
    )
