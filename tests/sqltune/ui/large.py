"""Records that ask much of the page: a suite of 2,000 questions, years of history, hostile text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import insert, select

from sqltune.evaluation import scorer, stored
from sqltune.evaluation.gate import decide
from sqltune.evaluation.questions import Question
from sqltune.evaluation.score import JudgedAnswer, Score
from sqltune.evaluation.stored import AnswerSet
from sqltune.evaluation.verdict import RecordedVerdict
from sqltune.records import database, models
from tests.plans import run_plan
from tests.sqltune.ui.recorded import START, record_training

HOSTILE = (
    "<img src=x onerror=\"alert('image')\"><script>alert('script')</script>",
    "<svg onload=alert(1)>\"'><iframe src=javascript:alert(2)></iframe>",
    "javascript:alert(3)",
    "\u202egnal\u202c \u2066\u200f\u202b\u05d0\u05d1\u05d2 right to left",
    "\u001b[2J\u001b]0;title\u0007\u001b[31mred\u001b[0m \u0008\u007f\ufffd\ufeff",
    "{{constructor.constructor('alert(4)')()}} ${alert(5)} %s%n %00",
    "</script></pre></textarea><!--",
    "W" * 100_000,
    "词" * 30_000,
    "a\n" * 5_000,
)
"""Texts that nobody means well. A database refuses NUL: `log_lines` has it."""


def record_answers(
    key: str,
    questions: Sequence[Question],
    answers: Mapping[str, Sequence[str]],
    wrong: Mapping[str, Sequence[int]],
) -> None:
    """Record both evaluations of a run, and the verdict on them, without executing a query.

    Args:
        key: The run.
        questions: The suite.
        answers: The models' answers by phase, in the suite's order.
        wrong: Positions of the wrong ones, by phase.
    """
    scores = {
        phase: scorer.count(phase, _judged(questions, given, set(wrong[phase])))
        for phase, given in answers.items()
    }
    for phase, score in scores.items():
        answer_set = AnswerSet(model_hash=f"{key} {phase}", decoding="d")
        answer_set.store(questions, {a.id: a.answer for a in score.answers})
        stored.put_score(key, phase, score, questions, answer_set)
    verdict = decide(scores["before"], scores["after"], run_plan().gate)
    stored.put_verdict(key, RecordedVerdict.of(verdict, "before  after"))


def _judged(questions: Sequence[Question], given: Sequence[str], wrong: set[int]) -> list[JudgedAnswer]:
    judged = []
    for position, (question, answer) in enumerate(zip(questions, given, strict=True)):
        is_wrong = position in wrong
        judged.append(
            JudgedAnswer(
                id=question.id,
                question=question.question,
                expected_sql=question.gold,
                answer=answer,
                sql=answer,
                outcome=("invalid" if position % 3 else "mismatch") if is_wrong else "match",
                reason=f"other rows: {answer}" if is_wrong else "",
                failure_class="unknown_column" if is_wrong and position % 3 else None,
                tags=question.tags,
                must_not_break=question.must_not_break,
            )
        )
    return judged


def record_suite(run_id: str, count: int = 2_000) -> str:
    """Record a run that was evaluated on many questions, half of them Chinese; its key."""
    key = record_training(run_id)
    questions = [
        Question(
            id=f"suite.{i}",
            question=f"列出第 {i} 个部门的所有员工的姓名" if i % 2 else f"How many heads are older than {i}?",
            context=f"CREATE TABLE head_{i % 40} (head_id INTEGER, name TEXT, age INTEGER, born TEXT)",
            gold=f"SELECT name, count(*) FROM head_{i % 40} WHERE age > {i} GROUP BY name ORDER BY name",
            tags=("held_out",),
        )
        for i in range(count)
    ]
    gold = [q.gold for q in questions]
    answers = {"before": [f"{sql} LIMIT 1" for sql in gold], "after": gold}
    wrong = {
        "before": [i for i in range(count) if i % 10 < 6],
        "after": [i for i in range(count) if i % 10 in (0, 1, 2, 9)],
    }
    record_answers(key, questions, answers, wrong)
    return key


def record_hostile(run_id: str) -> str:
    """Record a run whose questions, answers, schemas, names and log are hostile; its key."""
    key = record_training(run_id)
    texts = list(HOSTILE)
    questions = [
        Question(id=question_id(text), question=text, context=text, gold=text, database=text[:2_000])
        for text in texts
    ]
    answers = {"before": texts[::-1], "after": texts[1:] + texts[:1]}
    record_answers(key, questions, answers, {"before": range(0, 10, 2), "after": range(0, 10, 3)})
    return key


def question_id(text: str) -> str:
    """Id of the question with a hostile text."""
    return text[:500]


def log_lines() -> bytes:
    """Output of a host that prints what it should not."""
    return b"\0".join(text.encode() for text in HOSTILE) + b"\n" + bytes(range(256)) + b"\nlast line\n"


def record_history(cluster: str, runs: int = 1_000) -> None:
    """Record a history: one run a night, two of three with nothing new, each third one a version."""
    plan = run_plan(cluster_file="lab").model_dump(mode="json")
    run_rows: list[dict[str, Any]] = []
    version_rows: list[dict[str, Any]] = []
    promotion_rows: list[dict[str, Any]] = []
    for night in range(runs):
        at = START + timedelta(days=night)
        run_id = f"scheduled__{at.isoformat()}"
        key = f"{cluster}-{night}"
        run_rows.append(
            {
                "key": key,
                "run_id": run_id,
                "cluster": cluster,
                "recipe": "lab_tiny",
                "fingerprint": f"f{night // 3}",
                "dataset_repo": "team/data",
                "dataset_commit": f"{night // 3:040x}",
                "plan": plan,
                "same_as": run_id if night % 3 else None,
                "trained": None,
                "created_at": at,
                "active_at": at,
            }
        )
        if night % 3:
            continue
        number = night // 3 + 1
        lineage = {"dataset_repo": "team/data", "dataset_commit": f"{night // 3:040x}", "verdict": "passed"}
        common = {
            "cluster": cluster,
            "run_id": run_id,
            "lineage": lineage,
            "model_hash": key,
            "merged_path": "/m",
        }
        version_rows.append(
            common
            | {"number": number, "run_key": key, "registered_at": at, "host": "host-a", "dtype": "float16"}
        )
        promotion_rows.append(
            common
            | {
                "number": number,
                "at": at,
                "version": number,
                "before": number - 1 or None,
                "why": "passed the gate",
                "by": run_id,
            }
        )
    with database.writing() as session:
        session.execute(insert(models.Run), run_rows)
        session.execute(insert(models.Version), version_rows)
        session.execute(insert(models.Promotion), promotion_rows)
        statement = select(models.Run.key, models.Run.id).where(models.Run.cluster == cluster)
        numbers = {row.key: row.id for row in session.execute(statement)}
        session.execute(insert(models.Evaluation), _evaluations(numbers, run_rows))


def _evaluations(numbers: Mapping[str, int], run_rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    score: Score = scorer.count("m", [])
    document = score.summary.model_dump(mode="json")
    return [
        {
            "run_id": numbers[row["key"]],
            "phase": phase,
            "model": phase,
            "model_hash": row["key"],
            "questions": 100,
            "matched": min(95, 40 + night // 20 + 2 * (phase == "after")),
            "score": document,
            "answered": 100,
            "at": row["created_at"],
        }
        for night, row in enumerate(run_rows)
        if row["same_as"] is None
        for phase in ("before", "after")
    ]
