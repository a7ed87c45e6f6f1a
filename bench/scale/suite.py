"""A suite of 10,000 questions, real rows of DuSQL's training set: scored, audited, recorded, and shown."""

from __future__ import annotations

import os
import resource
import tempfile
import time
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import TypeVar

import scipy.stats  # noqa: F401 # its import takes seconds, whatever the suite's size
from sqlalchemy import text

from bench.scale.pages import measure_routes, of_runs, served_page
from bench.scale.results import report
from sqltune.dataset.rows import read_rows
from sqltune.environment import setting
from sqltune.evaluation import stored
from sqltune.evaluation.audit.gold_audit import audit
from sqltune.evaluation.gate import decide
from sqltune.evaluation.questions import Question, question_from_row
from sqltune.evaluation.score import Score
from sqltune.evaluation.scorer import score_answers, with_flags
from sqltune.evaluation.stored import AnswerSet
from sqltune.evaluation.verdict import RecordedVerdict
from sqltune.records import database, runs
from sqltune.records.evaluations import Phase
from tests.databases import running_postgres
from tests.plans import run_plan

T = TypeVar("T")

SIZES = (1_000, 10_000)
TIMES = 10
KEY = "suite"
TABLES = ("questions", "answers", "judgements", "evaluations", "verdicts")


def measure() -> None:
    folder = setting("SQLTUNE_DATA", "")
    if not folder:
        raise SystemExit("SQLTUNE_DATA is not set: name the folder that holds hub_dataset/train.jsonl")
    rows = islice(read_rows([Path(folder, "hub_dataset", "train.jsonl")]), max(SIZES))
    questions = [question_from_row(row, f"dusql.{n}", None) for n, row in enumerate(rows)]
    with running_postgres() as server:
        for size in SIZES:
            with tempfile.TemporaryDirectory() as home, server.new_database("migrated") as url:
                os.environ |= {"SQLTUNE_HOME": home, "SQLTUNE_DATABASE_URL": url}
                _measure(questions[:size])


def _measure(questions: Sequence[Question]) -> None:
    facts = {"questions": len(questions)}

    def timed(name: str, call: Callable[[], T]) -> T:
        began = time.monotonic()
        result = call()
        report(name, time.monotonic() - began, "s", **facts)
        return result

    runs.put_plan(run_plan(KEY))
    before = timed(
        "scored, two thirds wrong", lambda: score_answers("before", questions, _answers(questions, 1))
    )
    after = timed("scored, a third wrong", lambda: score_answers("after", questions, _answers(questions, 2)))
    flags = timed("gold audit", lambda: audit(questions))
    scores: dict[Phase, Score] = {"before": with_flags(before, flags), "after": with_flags(after, flags)}
    timed("both evaluations recorded", lambda: _record(questions, scores))
    verdict = timed("judged by the gate", lambda: decide(scores["before"], scores["after"], run_plan().gate))
    stored.put_verdict(KEY, RecordedVerdict.of(verdict, "before  after"))
    timed("one evaluation read", lambda: stored.required_score(KEY, "after"))
    report(
        "peak memory of this process", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3, "MB", **facts
    )
    with database.engine().connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("ANALYZE"))
        for table in TABLES:
            size = connection.scalar(text(f"SELECT pg_total_relation_size('{table}')"))
            report(f"size of the table {table}", (size or 0) / 1e6, "MB", **facts)
    _measure_page(facts)


def _answers(questions: Sequence[Question], right: int) -> dict[str, str]:
    """Of each three questions `right` have the gold query, and the others that of the question before."""
    return {q.id: questions[n if n % 3 < right else n - 1].gold for n, q in enumerate(questions)}


def _record(questions: Sequence[Question], scores: dict[Phase, Score]) -> None:
    for phase, score in scores.items():
        answers = AnswerSet(model_hash=phase, decoding="d")
        answers.store(questions, {answer.id: answer.answer for answer in score.answers})
        stored.put_score(KEY, phase, score, questions, answers)


def _measure_page(facts: dict[str, int]) -> None:
    routes = {
        "comparison": "",
        "questions, the first 100": "?limit=100",
        "questions, all": "?limit=10000",
        "questions, gained": "?limit=10000&change=gained",
        "questions, one outcome and hardness": "?limit=10000&outcome=invalid&hardness=hard",
        "questions, one language": "?limit=10000&language=zh",
        "questions, a text": "?limit=10000&text=明星",
        "questions, a text that none has": "?limit=10000&text=nowhere",
    }
    addresses = {name: of_runs([KEY], f"/{name.partition(',')[0]}{query}") for name, query in routes.items()}
    with served_page() as (client, process):
        began = process.memory_info().rss
        measure_routes(client, addresses, TIMES, **facts)
        report(
            "memory by which the page's process grew",
            (process.memory_info().rss - began) / 1e6,
            "MB",
            **facts,
        )
        measure_routes(client, {"report.html": of_runs([KEY], "/report.html")}, 2, **facts)
