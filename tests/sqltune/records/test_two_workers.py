"""Two workers with folders of their own carry one run: they share the database and the log store alone."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sqltune.records import installation, promotions, runs, series
from sqltune.records.logstore import LogStore
from sqltune.records.runs import State
from tests.conftest import ROOT

FIRST = """
from sqltune.evaluation import stored
from sqltune.evaluation.suites import held_out
from sqltune.records import claims, runs
from sqltune.records.claims import Owner
from sqltune.records.logstore import check_log_store
from sqltune.records.recorder import RunRecorder
from ssh_gang.progress import Progress
from tests.plans import run_plan

plan = run_plan()
check_log_store(plan.key)
runs.put_plan(plan)
claims.take(plan.cluster_name, Owner("text2sql_retrain", plan.run_id))
row = {"question": "Who?", "context": "CREATE TABLE t (a INTEGER)", "answer": "SELECT a FROM t"}
stored.put_held_out(plan.key, held_out([row]))
recorder = RunRecorder(plan.key, "train")
recorder.progress("try1", 1000.0, Progress(step=1, total=2, loss=2.0))
recorder.output("try1", "host-a", 0, b"first\\n")
"""
"""The first worker plans, prepares the data, and watches the first step."""

SECOND = """
from sqltune.evaluation import stored
from sqltune.evaluation.scorer import score_answers
from sqltune.evaluation.stored import AnswerSet
from sqltune.records import promotions, verdicts, versions
from sqltune.records.recorder import RunRecorder
from ssh_gang.progress import Progress
from tests.plans import run_plan

key = "r1"
recorder = RunRecorder(key, "train")
assert recorder.last_progress("try1").step == 1
recorder.output("try1", "host-a", 0, b"first\\n")
recorder.output("try1", "host-a", 6, b"second\\n")
recorder.progress("try1", 1001.0, Progress(step=2, total=2, loss=1.0))
questions = stored.held_out(key)
answer_set = AnswerSet(model_hash="m", decoding="d")
answer_set.store(questions, {questions[0].id: questions[0].gold})
for phase in ("before", "after"):
    score = score_answers("m", questions, answer_set.load(questions), processes=1)
    stored.put_score(key, phase, score, questions, answer_set)
verdicts.put(key, passed=True, table="before  after", decision={}, rules=[])
version = versions.register(
    "lab", "r1", run_key=key, host="host-a", merged_path="/m", model_hash="m", dtype="float16", lineage={}
)
promotions.promote(version, "passed the gate", "r1")
"""
"""The second worker takes the watch over, evaluates, judges, registers and promotes."""


def work(script: str, home: Path) -> None:
    """Run a script in a process with a folder of its own."""
    result = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | {"SQLTUNE_HOME": str(home), "PYTHONPATH": f"{ROOT}/plugins:{ROOT}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr


@pytest.fixture(scope="module")
def carried(postgres, tmp_path_factory) -> Iterator[list[Path]]:
    """A run that two workers have carried; their folders."""
    folder = tmp_path_factory.mktemp("workers")
    homes = [folder / "first", folder / "second"]
    with postgres.new_database("migrated") as url, pytest.MonkeyPatch.context() as patch:
        patch.setenv("SQLTUNE_DATABASE_URL", url)
        patch.setenv("SQLTUNE_LOG_STORE", str(folder / "common-logs"))
        work(FIRST, homes[0])
        work(SECOND, homes[1])
        yield homes


def test_the_run_is_whole(carried):
    summary = runs.summary("r1")
    assert summary.state is State.PROMOTED
    assert (summary.questions, summary.matched_after, summary.version) == (1, 1, 1)
    assert [p.progress.step for p in series.iterations("r1")] == [1, 2]
    assert promotions.champion("lab").version == 1


def test_the_log_is_whole(carried):
    assert LogStore().read("r1", "train.try1.host-a") == b"first\nsecond\n"


def test_no_worker_wrote_into_its_own_folder(carried):
    assert [list(home.rglob("*")) for home in carried if home.exists()] == []


def test_both_have_one_installation(carried, monkeypatch):
    names = set()
    for home in carried:
        monkeypatch.setenv("SQLTUNE_HOME", str(home))
        names.add(installation.name())
    assert len(names) == 1
