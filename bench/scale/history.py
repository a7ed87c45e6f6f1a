"""The page's API after 10 and after 1,000 runs, on PostgreSQL.

Each run has 1,000 iterations, 800 samples of GPUs, two evaluations of 200 questions with their answers, a
version with its lineage and a promotion; and each commit of the dataset was trained by one run.
"""

from __future__ import annotations

import json
import os
import tempfile
from datetime import timedelta
from pathlib import Path

from sqlalchemy import insert, select, text
from sqlalchemy.orm import Session

from bench.records import START, fill
from bench.scale.pages import measure_routes, of_runs, same, served_page
from bench.scale.results import report
from sqltune.config.watched import watched
from sqltune.records import database
from sqltune.records.models import Run
from sqltune.records.revision_tables import Revision, RevisionFeed
from sqltune.records.types import now
from tests.databases import Postgres, running_postgres
from tests.sqltune.ui import large

RUNS = (10, 1_000)
QUESTIONS = 200
SAMPLED = 25
TIMES = 50
WAITING = 10
"""Commits that wait in the queue."""
CONFIG = Path(__file__).resolve().parents[2] / "tests/sqltune/config/golden/codellama_7b_qlora.py.txt"
DOCUMENTS = """
UPDATE evaluations e SET score = s.score
FROM evaluations s JOIN runs r ON r.id = s.run_id AND r.key = 'sample' WHERE s.phase = e.phase;
UPDATE verdicts v SET decision = s.decision
FROM verdicts s JOIN runs r ON r.id = s.run_id AND r.key = 'sample';
INSERT INTO rule_results (run_id, position, passed, rule)
SELECT v.run_id, s.position, s.passed, s.rule
FROM verdicts v, rule_results s JOIN runs r ON r.id = s.run_id AND r.key = 'sample'
WHERE v.run_id <> s.run_id;
UPDATE runs SET trained = json_build_object('attempt', 'try1', 'config_text', CAST(:config AS text),
                                            'strategy', 'zero2', 'step', 1000, 'total', 1000, 'loss', 0.1);
UPDATE versions SET lineage = CAST(:lineage AS json);
UPDATE promotions SET lineage = CAST(:lineage AS json);
"""
"""What `bench/records.py` leaves empty, because its queries do not read it."""
LINEAGE = {
    **dict.fromkeys(
        ("dataset_commit", "checkpoint_hash", "adapter_hash", "model_hash", "split_hash"), "f" * 40
    ),
    **dict.fromkeys(("fingerprint", "code_version", "base_model_hash"), "f" * 16),
    **dict.fromkeys(("checkpoint", "adapter", "merged"), "~/code/runs/scheduled__2026-11-01/try1/iter_1000"),
    "dataset_repo": "team/data",
    "dataset_date": "2026-11-01T00:00:00+00:00",
    "base_model": "~/models/base",
    "started_from": "base model",
    "recipe": "codellama_7b_qlora",
    "host_versions": "torch=2.13.0 xtuner=0.2.0 transformers=4.48.0 deepspeed=0.18.9",
    "strategy": "zero2",
    "score": "150/200",
    "score_before": "100/200 (base)",
    "verdict": "passed: 25.0 points more",
    "gpu_hours": "1.500",
    "rank_hours": "1.500",
    "accelerator": "cuda",
}


def measure() -> None:
    with running_postgres() as server:
        for count in RUNS:
            _measure(server, count)


def _measure(server: Postgres, count: int) -> None:
    with tempfile.TemporaryDirectory() as home, server.new_database("migrated") as url:
        os.environ |= {"SQLTUNE_HOME": home, "SQLTUNE_DATABASE_URL": url}
        fill("postgresql", count, QUESTIONS)
        _complete()
        with database.reading() as session:
            size = session.scalar(text("SELECT pg_database_size(current_database())"))
        report("size of the database", size / 1e6, "MB", runs=count)
        keys = [f"run-{number}" for number in range(1, count + 1, max(1, count // SAMPLED))]
        routes = {
            "/queue": same("/queue"),
            "/runs, the newest 50": same("/runs?limit=50"),
            "/runs, the oldest 50": same(f"/runs?limit=50&offset={max(0, count - 50)}"),
            "/clusters/…/history (models)": same("/clusters/lab/history"),
            "/clusters/…/revisions": same(f"/clusters/{_feed()['cluster']}/revisions"),
            "/runs/…": of_runs(keys),
            "/runs/…/series": of_runs(keys, "/series"),
            "/runs/…/gpus": of_runs(keys, "/gpus"),
            "/runs/…/lineage": of_runs(keys, "/lineage"),
            "/runs/…/estimate": of_runs(keys, "/estimate"),
            "/runs/…/plan against another": of_runs(keys, f"/plan?against={keys[-1]}"),
            "/runs/…/comparison": of_runs(keys, "/comparison"),
            "/runs/…/comparison against another": of_runs(keys[:-1], f"/comparison?against={keys[-1]}"),
            "/runs/…/questions": of_runs(keys, "/questions?limit=10000"),
            "/runs/…/questions, filtered": of_runs(keys, "/questions?change=gained&hardness=hard"),
        }
        with served_page() as (client, _):
            measure_routes(client, routes, TIMES, runs=count)


def _feed() -> dict[str, str]:
    """The branch that is watched."""
    dataset = watched()
    assert dataset
    return dataset.model_dump(include={"cluster", "recipe", "dataset_repo", "branch"})


def _complete() -> None:
    """Add what makes the rows those of whole runs."""
    large.record_suite("sample", QUESTIONS)
    with database.writing() as session:
        # Promotions are only ever added: a trigger refuses the change of one.
        session.execute(text("SET LOCAL session_replication_role = replica"))
        session.execute(text(DOCUMENTS), {"config": CONFIG.read_text(), "lineage": json.dumps(LINEAGE)})
        _add_revisions(session)
    with database.engine().connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("ANALYZE"))


def _add_revisions(session: Session) -> None:
    """A commit for each run, which has trained it, and a few that wait."""
    checked = {"head": "f" * 40, "checked_at": now()}
    feed = session.scalar(insert(RevisionFeed).values(_feed() | checked).returning(RevisionFeed.id))
    runs = session.execute(select(Run.dataset_commit, Run.run_id, Run.fingerprint).order_by(Run.id)).all()
    trained = [{"commit": c, "run_id": r, "fingerprint": f, "state": "started"} for c, r, f in runs]
    waits = [
        {"commit": f"f{number:039x}", "run_id": None, "fingerprint": None, "state": "waiting"}
        for number in range(WAITING)
    ]
    common: dict[str, object] = {
        "feed_id": feed,
        "author": "someone",
        "title": "More rows",
        "tags": [],
        "source": "watcher",
    }
    moments = [START + timedelta(days=position) for position in range(len(trained) + WAITING)]
    session.execute(
        insert(Revision),
        [
            common | row | {"position": n, "date": at, "first_seen": at, "is_partition": True}
            for n, (row, at) in enumerate(zip([*trained, *waits], moments, strict=True), 1)
        ],
    )
