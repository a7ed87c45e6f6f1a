"""A recorded run: trained in two attempts, evaluated on four questions, promoted."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sqltune.evaluation import stored
from sqltune.evaluation.gate import decide
from sqltune.evaluation.questions import Question
from sqltune.evaluation.scorer import score_answers
from sqltune.evaluation.stored import AnswerSet
from sqltune.evaluation.verdict import RecordedVerdict
from sqltune.records import data_checks, promotions, runs, series, versions
from sqltune.records.logstore import check_log_store
from sqltune.records.recorder import RunRecorder
from ssh_gang.gpus import Gpu
from ssh_gang.progress import Progress
from tests.plans import run_plan
from tests.revisions_of_rows import check, rows

START = datetime(2026, 11, 1, 2, 0, tzinfo=UTC)
RUN_ID = "scheduled__2026-11-01T02:00:00+00:00"
CONTEXT = "CREATE TABLE head (age INTEGER, name TEXT)"
GOLD = {
    "kept": "SELECT name FROM head",
    "gained": "SELECT age FROM head",
    "lost": "SELECT count(*) FROM head",
    "wrong": "SELECT max(age) FROM head",
}
WRONG = "SELECT min(age) + 1 FROM head"
BEFORE = GOLD | {"gained": WRONG, "wrong": "SELECT nothing FROM head"}
AFTER = GOLD | {"lost": WRONG, "wrong": WRONG}


def record_training(run_id: str = RUN_ID, steps: int = 20) -> str:
    """Record a plan and a training whose second attempt resumed at step 11; the run's key."""
    plan = run_plan(run_id)
    check_log_store(plan.key)
    runs.put_plan(plan)
    for step in range(1, steps + 1):
        attempt = "try1" if step <= 10 else "try2"
        progress = Progress(
            step=step,
            total=steps,
            loss=9.0 if step == 7 else 2.0 - step / steps,
            lr=1e-4,
            seconds_per_step=3.0,
        )
        series.put_iteration(plan.key, attempt, START + timedelta(seconds=3 * step), progress)
    host = plan.cluster.hosts[0].name
    series.put_gpu_samples(
        plan.key, "try1", host, START, [Gpu(index=0, use=90.0, memory_used=9_000, memory_total=16_000)]
    )
    series.put_host_states(plan.key, START, {host: "running"})
    RunRecorder(plan.key, "train").output("try1", host, 0, b"first line\n<script>alert(1)</script>\n")
    return plan.key


def record_run(run_id: str = RUN_ID, after: dict[str, str] = AFTER) -> str:
    """Record a whole run; its key.

    Args:
        run_id: Airflow's run id.
        after: The candidate's queries, by question.
    """
    key = record_training(run_id)
    data_checks.put(key, check([*rows()[:66], rows()[0] | {"answer": "<script>alert(3)</script>"}], rows()))
    questions = [
        Question(
            id=name,
            question=f"{name}？",
            context=CONTEXT,
            gold=sql,
            database=None,
            tags=("held_out",),
            must_not_break=name == "kept",
        )
        for name, sql in GOLD.items()
    ]
    scores = []
    for phase, given in (("before", BEFORE), ("after", after)):
        answered = AnswerSet(model_hash=f"{run_id} {phase}", decoding="d")
        answered.store(questions, given)
        score = score_answers(phase, questions, answered.load(questions), processes=1)
        stored.put_score(key, phase, score, questions, answered)
        scores.append(score)
    verdict = decide(*scores, run_plan().gate)
    stored.put_verdict(key, RecordedVerdict(**verdict.model_dump(), table="before  after"))
    version = versions.register(
        "lab",
        run_id,
        run_key=key,
        host="host-a",
        merged_path="/m",
        model_hash="m",
        dtype="float16",
        lineage={"gpu_hours": "1.500", "dataset_repo": "team/data"},
    )
    promotions.promote(version, "a person", run_id)
    return key
