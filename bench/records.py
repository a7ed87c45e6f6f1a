"""How fast the queries of a page that shows all runs are, on SQLite and on PostgreSQL.

    .lab/control-env/bin/python bench/records.py [--runs 1000] [--questions 2000]

Fills an empty database of each engine with made-up runs (always the same ones), runs each query for 25
runs from all over the table, and prints the median and the longest time. It needs 3 GB for temporary files.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "plugins")]

from sqlalchemy import text  # noqa: E402

from sqltune.records import comparisons, database, promotions, questions, runs, series, versions  # noqa: E402
from sqltune.records.comparisons import AnswerFilter  # noqa: E402
from sqltune.records.migrate import migrate  # noqa: E402
from sqltune.records.questions import QuestionRecord  # noqa: E402
from tests.databases import running_postgres  # noqa: E402
from tests.plans import run_plan  # noqa: E402

STEPS = 1000
"""Iterations of each run."""
SAMPLES = 100
"""Samples of each of a run's eight GPUs."""
SAMPLED_RUNS = 25
"""Runs for which each query is measured."""
LIMIT_MS = 100
"""Milliseconds that the slowest query may take."""
START = datetime(2026, 1, 1, tzinfo=UTC)

NUMBERS = "WITH RECURSIVE numbers(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM numbers WHERE i < {count}) "
ANSWERS = """
INSERT INTO answers (id, model_hash, decoding, prompt_hash, text, at)
SELECT r.id * 10000 + q.id, 'model-' || r.id, 'decoding', 'prompt-' || q.id,
       'SELECT name, age FROM head WHERE age > ' || (r.id + q.id), r.created_at
FROM runs r CROSS JOIN questions q"""
JUDGEMENTS = """
INSERT INTO judgements (run_id, phase, position, question_id, answer_id, sql, outcome, reason, strict, exact,
                        vacuous, failure_class)
SELECT r.id, p.phase, q.id, q.id,
       CASE WHEN p.phase = 'after' OR r.id = 1 THEN r.id * 10000 + q.id ELSE (r.id - 1) * 10000 + q.id END,
       'SELECT name, age FROM head WHERE age > ' || q.id,
       CASE WHEN (r.id * 7919 + q.id * 104729 + p.salt) % 100 < p.right THEN 'match'
            WHEN (r.id + q.id) % 3 = 0 THEN 'invalid' ELSE 'mismatch' END,
       '', {yes}, {no}, {no}, CASE WHEN (r.id + q.id) % 3 = 0 THEN 'syntax' END
FROM runs r CROSS JOIN questions q
CROSS JOIN (SELECT 'before' AS phase, 0 AS salt, 60 AS right
            UNION ALL SELECT 'after', 31, 70) p"""
EVALUATIONS = """
INSERT INTO evaluations (run_id, phase, model, model_hash, questions, matched, score, answered, at)
SELECT r.id, p.phase, 'candidate', 'model-' || r.id, {questions}, {questions} / 2 + r.id % 100, '{{}}',
       {questions}, r.created_at
FROM runs r CROSS JOIN (SELECT 'before' AS phase UNION ALL SELECT 'after') p"""
VERDICTS = """
INSERT INTO verdicts (run_id, passed, "table", decision, at)
SELECT id, CASE WHEN id % 3 = 0 THEN {no} ELSE {yes} END, 'before  after', '{{}}', created_at FROM runs"""
ITERATIONS = (
    NUMBERS.format(count=STEPS)
    + """
SELECT r.id, 'try1', n.i, {steps}, 2.0 / n.i, {yes}, n.i, NULL, 0.0001, 1.5, 230.0, 12000, '1:00:00',
       r.created_at FROM runs r CROSS JOIN numbers n"""
)
GPUS = (
    NUMBERS.format(count=8 * SAMPLES)
    + """
SELECT r.id, CASE WHEN n.i % 8 < 4 THEN 'host-a' ELSE 'host-b' END, n.i % 4, {moment}, 'try1', 97.0,
       15000, 16384 FROM runs r CROSS JOIN numbers n"""
)
ITERATION_COLUMNS = (
    "run_id, attempt, step, total, loss, loss_is_finite, last_finite_step, first_nonfinite_step, lr, "
    "seconds_per_step, tokens_per_second, memory, eta, at"
)
GPU_COLUMNS = "run_id, host, gpu, at, attempt, use, memory_used, memory_total"
MOMENTS = {
    "sqlite": "strftime('%Y-%m-%d %H:%M:%f', '2026-01-01', '+' || (15 * n.i) || ' seconds') || '000'",
    "postgresql": "TIMESTAMPTZ '2026-01-01 00:00:00Z' + n.i * INTERVAL '15 seconds'",
}


def fill(engine: str, run_count: int, question_count: int) -> None:
    """Fill an empty database."""
    names = {"yes": "1", "no": "0"} if engine == "sqlite" else {"yes": "true", "no": "false"}
    names |= {"questions": str(question_count), "steps": str(STEPS), "moment": MOMENTS[engine]}
    _fill_runs(run_count, question_count)
    with database.writing() as session:
        if engine == "postgresql":
            # The rows refer to each other by construction; checking millions of them takes minutes.
            session.execute(text("SET LOCAL session_replication_role = replica"))
        for statement in (ANSWERS, JUDGEMENTS, EVALUATIONS, VERDICTS):
            session.execute(text(statement.format(**names)))
        for table, columns, statement in (
            ("iterations", ITERATION_COLUMNS, ITERATIONS),
            ("gpu_samples", GPU_COLUMNS, GPUS),
        ):
            session.execute(text(f"INSERT INTO {table} ({columns}) {statement.format(**names)}"))
    with database.engine().connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("ANALYZE"))


def _fill_runs(run_count: int, question_count: int) -> None:
    contexts = [
        f"CREATE TABLE head{i % 200} (name TEXT, age INTEGER, born TEXT)" for i in range(question_count)
    ]
    suite = [
        QuestionRecord(
            name=f"q{i}",
            question=f"第 {i} 个部门中有多少人年龄大于56岁？",
            context=context,
            gold=f"SELECT count(*) FROM head WHERE age > {i}",
            language="zh" if i % 2 else "en",
            hardness=("easy", "medium", "hard", "extra")[i % 4],
        )
        for i, context in enumerate(contexts)
    ]
    for number in range(1, run_count + 1):
        plan = run_plan(f"run-{number}", dataset_commit=f"{number:040x}")
        runs.put_plan(plan)
        if number == 1:
            questions.put_held_out(plan.key, suite)
        version = versions.register(
            "lab",
            plan.run_id,
            run_key=plan.key,
            host="host-a",
            merged_path=f"/runs/{number}",
            model_hash=f"model-{number}",
            dtype="float16",
            lineage={"score": "1/2", "dataset_commit": plan.dataset_commit},
        )
        promotions.promote(version, "passed the gate", plan.run_id)


def page_queries(sampled: list[int]) -> dict[str, list[Callable[[], object]]]:
    """The queries of the page by name, each for every sampled run."""
    keys = [f"run-{number}" for number in sampled]
    first = promotions.history("lab")[0].at
    return {
        "the list of runs (50, from all over)": [
            lambda n=n: runs.summaries(limit=50, offset=n - 1) for n in sampled
        ],
        "one run's series: iterations": [lambda k=k: series.iterations(k) for k in keys],
        "one run's series: GPUs": [lambda k=k: series.gpu_samples(k) for k in keys],
        "one run's answers: gained, first 100": [
            lambda k=k: comparisons.compare(k, AnswerFilter(change="gained")) for k in keys
        ],
        "one run's answers: invalid and hard, first 100": [
            lambda k=k: comparisons.compare(k, AnswerFilter(outcome="invalid", hardness="hard")) for k in keys
        ],
        "score over all versions": [lambda: versions.scores("lab") for _ in keys],
        "what served at a moment": [
            lambda n=n: promotions.served_at("lab", first + timedelta(milliseconds=n)) for n in sampled
        ],
    }


def milliseconds(question: Callable[[], object]) -> float:
    """How long one query takes: the best of three, because other programs interrupt some."""
    times = []
    for _ in range(3):
        began = time.perf_counter()
        question()
        times.append(1000 * (time.perf_counter() - began))
    return min(times)


@contextmanager
def sqlite() -> Iterator[str]:
    """An empty SQLite database; its URL."""
    with tempfile.TemporaryDirectory(prefix="sqltune-bench-") as folder:
        yield f"sqlite:///{folder}/records.db"


@contextmanager
def postgresql() -> Iterator[str]:
    """An empty PostgreSQL database; its URL."""
    with running_postgres() as server, server.new_database() as url:
        yield url


def main() -> int:
    """Print the table; 1 if a query took longer than `LIMIT_MS`."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--questions", type=int, default=2000)
    options = parser.parse_args()
    longest = 0.0
    for engine, opened in (("sqlite", sqlite), ("postgresql", postgresql)):
        with opened() as url:
            os.environ["SQLTUNE_DATABASE_URL"] = url
            migrate()
            began = time.monotonic()
            fill(engine, options.runs, options.questions)
            seconds = time.monotonic() - began
            print(
                f"{engine}: {options.runs} runs of {options.questions} questions, filled in {seconds:.0f} s"
            )
            step = max(1, options.runs // SAMPLED_RUNS)
            for name, calls in page_queries(list(range(1, options.runs + 1, step))).items():
                times = [milliseconds(call) for call in calls]
                longest = max(longest, *times)
                print(
                    f"  {name:<48} median {statistics.median(times):6.1f} ms  longest {max(times):6.1f} ms",
                    flush=True,
                )
            database.close()
    print(f"longest query {longest:.0f} ms, limit {LIMIT_MS} ms")
    return 0 if longest < LIMIT_MS else 1


if __name__ == "__main__":
    sys.exit(main())
