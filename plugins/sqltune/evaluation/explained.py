"""Questions with their answers explained: those of files, or those of a run in the records."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from pydantic import Field

from sqltune.errors import ScoringError
from sqltune.evaluation import stored
from sqltune.evaluation.explanation import Explanation, explain
from sqltune.evaluation.judge import Pair
from sqltune.evaluation.questions import Question
from sqltune.evaluation.score_files import queries_of, read_questions
from sqltune.records.evaluations import Phase
from ssh_gang.model import Model, slug

ANSWER = "answer"
"""Name of the answer where there is one model only."""


class ExplainedQuestion(Model):
    """A question, and why each of its answers was judged as it was."""

    id: str = Field(description="Id of the question.")
    question: str = Field(description="The question in natural language.")
    gold: str = Field(description="The gold query.")
    answers: dict[str, Explanation] = Field(
        description="The models' answers by name: `answer`, or `before`, `after` and `reference`."
    )

    @property
    def has_wrong_answer(self) -> bool:
        """Whether an answer returned other rows, or did not run."""
        return any(answer.outcome in ("mismatch", "invalid") for answer in self.answers.values())


@dataclass(frozen=True)
class AnsweredQuestion:
    """A question, and the query of each model's answer by the model's name."""

    question: Question
    queries: Mapping[str, str]


def answered_in_files(
    gold: Path, predictions: Path, after: Path | None = None, databases: Path | None = None
) -> list[AnsweredQuestion]:
    """Return the questions of a gold file with one or two models' predictions.

    Args:
        gold: the gold file, as in `score_files`.
        predictions: the predictions; those before, where there are others.
        after: those after, or None.
        databases: folder of the databases; by default synthetic ones are used.

    Raises:
        ScoringError: a file can't be read, or the files do not fit together.
        DatasetError: the gold file is not JSON.
    """
    questions = read_questions(gold, databases)
    files = {ANSWER: predictions} if after is None else {"before": predictions, "after": after}
    queries = {name: queries_of(questions, file) for name, file in files.items()}
    return [AnsweredQuestion(q, {name: by_id[q.id] for name, by_id in queries.items()}) for q in questions]


def answered_in_run(run_id: str) -> list[AnsweredQuestion]:
    """Return the questions of a run with its models' answers.

    Args:
        run_id: id of the DAG run.

    Raises:
        UnknownRun: no such run is recorded.
        ScoringError: none of its models has been evaluated yet.
    """
    questions: dict[str, Question] = {}
    queries: dict[str, dict[str, str]] = {}
    for phase in get_args(Phase):
        for question, query in stored.queries(slug(run_id), phase):
            questions.setdefault(question.id, question)
            queries.setdefault(question.id, {})[phase] = query
    if not questions:
        raise ScoringError(
            f"run {run_id} has no answers in the records: its task before.evaluate did not end"
        )
    return [AnsweredQuestion(question, queries[name]) for name, question in questions.items()]


def explain_answers(
    answered: Sequence[AnsweredQuestion], ids: Collection[str] = ()
) -> list[ExplainedQuestion]:
    """Explain the answers to questions.

    Args:
        answered: the questions and answers.
        ids: explain these questions; without one, all that have a wrong answer. A number of at most six
            digits is the number of a row.

    Raises:
        ScoringError: there is no question of that id; or the worker process does not start.
    """
    chosen = _chosen(answered, ids) if ids else answered
    pairs = [
        Pair(a.question.gold, query, a.question.context, a.question.database)
        for a in chosen
        for query in a.queries.values()
    ]
    explanations = iter(explain(pairs))
    explained = [
        ExplainedQuestion(
            id=a.question.id,
            question=a.question.question,
            gold=a.question.gold,
            answers={name: next(explanations) for name in a.queries},
        )
        for a in chosen
    ]
    return explained if ids else [question for question in explained if question.has_wrong_answer]


def _chosen(answered: Sequence[AnsweredQuestion], ids: Collection[str]) -> list[AnsweredQuestion]:
    by_id = {a.question.id: a for a in answered}
    names = [name if name in by_id else name.zfill(6) for name in ids]
    if missing := [given for given, name in zip(ids, names, strict=True) if name not in by_id]:
        raise ScoringError(
            f"--question: there is no {', '.join(missing)} (the first of {len(by_id)} is {next(iter(by_id))})"
        )
    return [by_id[name] for name in names]
