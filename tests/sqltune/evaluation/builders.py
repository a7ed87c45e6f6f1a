"""Questions and scores for the tests of the gate and the report."""

from __future__ import annotations

from collections.abc import Collection

from sqltune.evaluation.judge import Outcome
from sqltune.evaluation.questions import Question
from sqltune.evaluation.score import JudgedAnswer, Score
from sqltune.evaluation.scorer import count
from sqltune.evaluation.speed import Speed
from sqltune.evaluation.stored import AnswerSet, put_score
from sqltune.records.evaluations import Phase

CONTEXT = "CREATE TABLE t (a INTEGER, b VARCHAR)"


def dataset_rows(count: int) -> list[dict[str, str]]:
    """Rows of a dataset, every other one in Chinese."""
    return [
        {
            "question": f"第{i}个问题" if i % 2 else f"question {i}",
            "context": CONTEXT,
            "answer": f"SELECT b FROM t WHERE a > {i}",
        }
        for i in range(count)
    ]


def judged(number: int, outcome: Outcome = "match", **fields: object) -> JudgedAnswer:
    """A judged answer to question `q<number>`; correct unless another outcome is given."""
    sql = f"SELECT b FROM t WHERE a > {number}"
    answer = {
        "id": f"q{number:03d}",
        "question": "How many?",
        "expected_sql": sql,
        "answer": sql,
        "sql": sql,
        "outcome": outcome,
        "reason": {"match": "", "mismatch": "other rows"}.get(outcome, "syntax error"),
        "failure_class": "syntax" if outcome == "invalid" else None,
    }
    return JudgedAnswer(**(answer | fields))


def score_of(
    size: int,
    wrong: Collection[int] = (),
    invalid: Collection[int] = (),
    vacuous: Collection[int] = (),
    guarded: int = 0,
    speed: Speed | None = None,
) -> Score:
    """A score on `size` questions.

    Args:
        size: number of questions.
        wrong: questions answered with other rows.
        invalid: questions answered with SQL that does not run.
        vacuous: questions whose queries return no rows.
        guarded: how many of the first questions must not break.
        speed: how fast the answers came.
    """
    answers = []
    for i in range(size):
        outcome: Outcome = "invalid" if i in invalid else "mismatch" if i in wrong else "match"
        empty = outcome == "match" and i in vacuous
        answers.append(judged(i, outcome, vacuous=empty, must_not_break=i < guarded))
    return count("m", answers, speed=speed)


def speed_of(p95: float, answers: int = 60) -> Speed:
    """A speed with this p95 latency, in seconds."""
    return Speed(answers=answers, seconds=30.0, p50=p95 / 2, p95=p95, tokens=None)


def store(run_key: str, phase: Phase, score: Score) -> None:
    """Record a score with its questions and answers."""
    questions = [
        Question(
            id=a.id,
            question=a.question,
            context=f"CREATE TABLE t{number} (a INTEGER, b INTEGER)",
            gold=a.expected_sql,
            tags=a.tags,
            must_not_break=a.must_not_break,
        )
        for number, a in enumerate(score.answers)
    ]
    answer_set = AnswerSet(model_hash=f"{score.model}-{phase}", decoding="d")
    answer_set.store(questions, {a.id: a.answer for a in score.answers})
    put_score(run_key, phase, score, questions, answer_set)
