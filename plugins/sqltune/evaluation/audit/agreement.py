"""Both models against the gold query: where their answers agree with each other, the gold may be wrong."""

from __future__ import annotations

from collections.abc import Sequence

from sqltune.evaluation.audit.flags import Flag, Flags
from sqltune.evaluation.execution_match import match_pairs
from sqltune.evaluation.judge import Pair
from sqltune.evaluation.questions import Question
from sqltune.evaluation.score import JudgedAnswer, Score

MIN_ACCURACY = 0.5
"""Share of correct answers from which on a model's agreement says something: weak models share mistakes."""


def models_agree(questions: Sequence[Question], before: Score, after: Score) -> Flags:
    """Flag the questions that both models answer with the same rows, and not with those of the gold query.

    They must agree on the question's database and on synthetic ones, and return rows: two wrong queries often
    agree on one database by chance.

    Args:
        questions: the suite.
        before: score of the model that is served now.
        after: score of the candidate, on the same questions.

    Raises:
        ScoringError: the worker process does not start.
    """
    if min(before.accuracy, after.accuracy) < MIN_ACCURACY:
        return {}
    was, now = ({a.id: a for a in score.answers} for score in (before, after))
    asked = [q for q in questions if _are_wrong(was.get(q.id), now.get(q.id))]
    # On the question's database, then on synthetic ones; without a database both are the same.
    agreed = _agreed(asked, [Pair(was[q.id].sql, now[q.id].sql, q.context, q.database) for q in asked])
    real = [q for q in agreed if q.database]
    confirmed = _agreed(real, [Pair(was[q.id].sql, now[q.id].sql, q.context) for q in real])
    flag = Flag(reason="models_agree", detail="both models return the same rows, and others than the gold")
    return {q.id: (flag,) for q in agreed if q.database is None or q in confirmed}


def _are_wrong(*answers: JudgedAnswer | None) -> bool:
    return all(answer is not None and answer.outcome == "mismatch" for answer in answers)


def _agreed(questions: Sequence[Question], pairs: Sequence[Pair]) -> list[Question]:
    """The questions whose pair of answers returns the same rows, and not none."""
    matches = match_pairs(pairs)
    return [q for q, match in zip(questions, matches, strict=True) if match.matched and not match.vacuous]
