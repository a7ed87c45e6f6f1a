"""Questions: each is stored once for all runs, and the held-out ones that a run sampled."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from sqltune.records import answers, database
from sqltune.records.models import HeldOut, Question
from sqltune.records.runs import number, touch


@dataclass(frozen=True)
class QuestionRecord:
    """A question of a suite."""

    name: str
    """Its id in the suite."""
    question: str
    context: str
    gold: str
    database: str | None = None
    tags: list[str] = field(default_factory=list)
    must_not_break: bool = False
    language: str = ""
    hardness: str = ""

    @property
    def key(self) -> str:
        """Hash of the whole question: one that was changed is another one."""
        text = json.dumps(asdict(self), sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()[:32]


def put_held_out(run_key: str, questions: Sequence[QuestionRecord]) -> None:
    """Record the held-out questions that a run sampled, in their order."""
    with database.writing() as session:
        run = number(session, run_key)
        ids = ids_of(session, questions)
        session.execute(delete(HeldOut).where(HeldOut.run_id == run))
        rows = [
            {"run_id": run, "position": position, "question_id": ids[question.key]}
            for position, question in enumerate(questions)
        ]
        database.upsert(session, HeldOut, rows, keys=["run_id", "position"])
        touch(session, run)


def held_out(run_key: str) -> list[QuestionRecord]:
    """Return the held-out questions that a run sampled, in their order."""
    with database.reading() as session:
        statement = (
            select(Question)
            .join(HeldOut, HeldOut.question_id == Question.id)
            .where(HeldOut.run_id == number(session, run_key))
            .order_by(HeldOut.position)
        )
        return [from_row(row) for row in session.scalars(statement)]


def ids_of(session: Session, questions: Sequence[QuestionRecord]) -> dict[str, int]:
    """Record questions that are new; return the number of each by its key."""
    by_key = {question.key: question for question in questions}
    rows = [{"key": key} | asdict(question) for key, question in by_key.items()]
    database.upsert(session, Question, rows, keys=["key"], update=False)
    keys = list(by_key)
    ids: dict[str, int] = {}
    for start in range(0, len(keys), answers.CHUNK):
        chunk = keys[start : start + answers.CHUNK]
        statement = select(Question.key, Question.id).where(Question.key.in_(chunk))
        ids.update((row.key, row.id) for row in session.execute(statement))
    return ids


def from_row(row: Question) -> QuestionRecord:
    """Return a stored question."""
    return QuestionRecord(
        name=row.name,
        question=row.question,
        context=row.context,
        gold=row.gold,
        database=row.database,
        tags=row.tags,
        must_not_break=row.must_not_break,
        language=row.language,
        hardness=row.hardness,
    )
