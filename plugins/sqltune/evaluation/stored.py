"""Scores and verdicts of a run in the records."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field, TypeAdapter

from sqltune.config.base import digest
from sqltune.errors import ScoringError
from sqltune.evaluation.audit.flags import Flags
from sqltune.evaluation.questions import Question, language
from sqltune.evaluation.score import JudgedAnswer, Score, ScoreSummary
from sqltune.evaluation.speed import Speed
from sqltune.evaluation.verdict import RecordedVerdict
from sqltune.records import answers, evaluations, questions, verdicts
from sqltune.records.evaluations import EvaluationRecord, JudgementRecord, Phase
from sqltune.records.questions import QuestionRecord
from sqltune.sql.prompt import render
from sqltune.sql.shape import hardness
from ssh_gang.model import Model

_FLAGS = TypeAdapter(Flags)


class AnswerSet(Model):
    """The stored answers of one model with one way of decoding; answers of two sets are never mixed."""

    model_hash: str = Field(description="Hash of the weights, or of a hosted model's name and address.")
    decoding: str = Field(
        description="Hash of the prompt template and of everything that decides how an answer is generated."
    )

    def load(self, suite: Sequence[Question]) -> dict[str, str]:
        """Return the answers that this run or an earlier one has stored, by question id."""
        prompts = {q.id: prompt_hash(q) for q in suite}
        stored = answers.known(self.model_hash, self.decoding, prompts.values())
        return {name: stored[prompt] for name, prompt in prompts.items() if prompt in stored}

    def store(self, suite: Sequence[Question], new: dict[str, str]) -> None:
        """Store answers by question id, so that no run generates them again."""
        by_prompt = {prompt_hash(q): new[q.id] for q in suite if q.id in new}
        answers.put(self.model_hash, self.decoding, by_prompt)


def prompt_hash(question: Question) -> str:
    """Hash of the prompt of a question."""
    return digest(render(question.question, question.context))


def put_held_out(run_key: str, sampled: Sequence[Question]) -> None:
    """Record the held-out questions that a run sampled."""
    questions.put_held_out(run_key, [_record(q) for q in sampled])


def held_out(run_key: str) -> list[Question]:
    """Return the held-out questions that a run sampled; none before `download_dataset`."""
    return [_question(record) for record in questions.held_out(run_key)]


def put_score(
    run_key: str, phase: Phase, score: Score, suite: Sequence[Question], answer_set: AnswerSet
) -> None:
    """Record a score with its single answers.

    Args:
        run_key: The run.
        phase: Which of its models.
        score: The score.
        suite: The questions, in the order of the score's answers.
        answer_set: Where its answers are stored.
    """
    record = EvaluationRecord(
        model=score.model,
        model_hash=answer_set.model_hash,
        questions=score.questions,
        matched=score.matched,
        score=score.model_dump(mode="json", exclude={"answers", "speed"}),
        judgements=[_judgement(q, a) for q, a in zip(suite, score.answers, strict=True)],
        speed=score.speed.model_dump(mode="json") if score.speed else None,
    )
    evaluations.put(run_key, phase, record, answer_set.decoding)


def score(run_key: str, phase: Phase) -> Score | None:
    """Return the score of one of a run's models, or None."""
    record = evaluations.get(run_key, phase)
    return None if record is None else Score.model_validate(record.document)


def summary(run_key: str, phase: Phase) -> ScoreSummary | None:
    """Return the counts of the score of one of a run's models, or None."""
    document = evaluations.score(run_key, phase)
    # Recorded with them are the flags, which belong to the single answers.
    return None if document is None else ScoreSummary.model_validate(document, extra="ignore")


def flags(run_key: str, phase: Phase) -> Flags:
    """Return what the gold audit found when one of a run's models was evaluated, by question id."""
    document = evaluations.score(run_key, phase) or {}
    return _FLAGS.validate_python(document.get("flags", {}))


def speed(run_key: str, phase: Phase, model_hash: str) -> Speed | None:
    """Return how fast one of a run's models has answered so far, its unfinished tries included, or None."""
    document = evaluations.speed(run_key, phase, model_hash)
    return None if document is None else Speed.model_validate(document)


def required_score(run_key: str, phase: Phase) -> Score:
    """Return the score of one of a run's models.

    Raises:
        ScoringError: It was not recorded.
    """
    recorded = score(run_key, phase)
    if recorded is None:
        raise ScoringError(
            f"run {run_key} has no score {phase!r} in the records: clear its task {phase}.evaluate"
        )
    return recorded


def queries(run_key: str, phase: Phase) -> list[tuple[Question, str]]:
    """Return the questions that one of a run's models was judged on, each with the query of its answer.

    Raises:
        UnknownRun: no such run is recorded.
    """
    record = evaluations.get(run_key, phase)
    return [] if record is None else [(_question(j.question), j.sql) for j in record.judgements]


def put_verdict(run_key: str, verdict: RecordedVerdict) -> None:
    """Record the gate's decision on a run."""
    document = verdict.model_dump(mode="json")
    rules = document.pop("rules")
    verdicts.put(run_key, document.pop("passed"), document.pop("table"), document, rules)


def verdict(run_key: str) -> RecordedVerdict | None:
    """Return the gate's decision on a run, or None."""
    record = verdicts.get(run_key)
    return None if record is None else RecordedVerdict.model_validate(record.document)


def _record(question: Question) -> QuestionRecord:
    return QuestionRecord(
        name=question.id,
        question=question.question,
        context=question.context,
        gold=question.gold,
        database=question.database,
        tags=list(question.tags),
        must_not_break=question.must_not_break,
        language=language(question.question),
        hardness=hardness(question.gold),
    )


def _question(record: QuestionRecord) -> Question:
    return Question(
        id=record.name,
        question=record.question,
        context=record.context,
        gold=record.gold,
        database=record.database,
        tags=tuple(record.tags),
        must_not_break=record.must_not_break,
    )


def _judgement(question: Question, answer: JudgedAnswer) -> JudgementRecord:
    return JudgementRecord(
        question=_record(question),
        prompt_hash=prompt_hash(question),
        outcome=answer.outcome,
        sql=answer.sql,
        reason=answer.reason,
        strict=answer.strict,
        exact=answer.exact,
        vacuous=answer.vacuous,
        failure_class=answer.failure_class,
        error_class=answer.error_class,
    )
