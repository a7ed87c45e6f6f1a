"""Execution match in worker processes: calibrated on real predictions, and against hostile SQL."""

from __future__ import annotations

import os
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from sqltune.dataset.rows import read_rows
from sqltune.errors import ScoringError
from sqltune.evaluation.execution_match import match_pairs
from sqltune.evaluation.judge import Pair
from sqltune.evaluation.score_files import read_predictions
from tests.conftest import shared_data
from tests.sqltune.evaluation.hostile_sql import HOSTILE

CONTEXT = "CREATE TABLE t (id INTEGER, name VARCHAR, age INTEGER)"
FINE = "SELECT name FROM t"
FINE_PAIR = Pair(FINE, FINE, context=CONTEXT)


@pytest.mark.parametrize(
    ("file", "share", "strict"),
    [("chatgpt-2303-spider.json", 69.9, 64.3), ("codes-1b-spider-dev.txt", 78.7, 75.1)],
)
def test_calibrated_on_spider(file, share, strict):
    data = shared_data("spider_dev")
    questions = list(read_rows([data / "dev.json"]))
    predictions = read_predictions(data / "predictions" / file)
    matches = match_pairs(
        [
            Pair(q["query"], sql, database=str(data / "sqlite" / f"{q['db_id']}.sqlite"))
            for q, sql in zip(questions, predictions, strict=True)
        ]
    )
    assert 100 * sum(m.matched for m in matches) / len(matches) == pytest.approx(share, abs=0.3)
    assert 100 * sum(m.strict for m in matches) / len(matches) == pytest.approx(strict, abs=0.3)
    assert not any(m.outcome == "gold_invalid" for m in matches)


def test_no_pairs_start_no_process():
    assert match_pairs([]) == []


@pytest.mark.parametrize("processes", [1, 3])
def test_matches_come_in_the_order_of_the_pairs(processes):
    wrong = Pair(FINE, "SELECT id FROM t", context=CONTEXT)
    pairs = [FINE_PAIR, wrong, wrong, FINE_PAIR, wrong]
    matches = match_pairs(pairs, processes)
    assert [m.matched for m in matches] == [True, False, False, True, False]


def test_hostile_statements_are_a_hundred_different_ones():
    assert len(HOSTILE) >= 100
    assert len({statement for statement, _ in HOSTILE}) == len(HOSTILE)


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A database in a folder of its own, below the working folder."""
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "read" / "t.sqlite"
    file.parent.mkdir()
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute(CONTEXT)
        connection.executemany("INSERT INTO t VALUES (?, ?, ?)", [(i, f"n{i}", i % 60) for i in range(60)])
    return file


def unexpected(hostile, **where: str) -> list[object]:
    """Hostile statements that did not end in their classes, and questions after them that went unjudged."""
    statements = [query for statement, _ in hostile for query in (statement, FINE)]
    matches = match_pairs([Pair(FINE, query, **where) for query in statements], processes=2)
    wrong: list[object] = [
        (statement[:80], m.outcome, m.failure_class, m.reason[:80])
        for (statement, classes), m in zip(hostile, matches[::2], strict=True)
        if m.outcome != "invalid" or m.failure_class not in classes or not m.reason
    ]
    return wrong + [m for m in matches[1::2] if not m.matched]


@pytest.mark.slow
def test_hostile_statements_on_a_file_end_in_a_clear_class_and_write_nothing(database, tmp_path):
    before = database.read_bytes()
    assert unexpected(HOSTILE, database=str(database)) == []
    assert database.read_bytes() == before
    assert [path.name for path in tmp_path.rglob("*")] == ["read", "t.sqlite"]


@pytest.mark.slow
def test_hostile_statements_on_synthetic_databases_end_in_a_clear_class(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    # Not all of them: each that is slow takes its two seconds.
    assert unexpected(HOSTILE[::7], context=CONTEXT) == []
    assert list(tmp_path.iterdir()) == []


def test_pair_that_takes_too_long_is_a_timeout_of_its_own(monkeypatch):
    # Time is up before the first response: every pair is reported, none hangs.
    monkeypatch.setattr("sqltune.evaluation.execution_match.GRACE", -1e6)
    matches = match_pairs([FINE_PAIR, FINE_PAIR], processes=1)
    assert [m.failure_class for m in matches] == ["timeout", "timeout"]


def test_killed_worker_leaves_no_process(monkeypatch):
    monkeypatch.setattr("sqltune.evaluation.execution_match.GRACE", -1e6)
    match_pairs([FINE_PAIR], processes=1)
    children = ["ps", "--ppid", str(os.getpid()), "-o", "args"]
    assert "evaluation.worker" not in subprocess.run(children, capture_output=True, text=True).stdout


def test_worker_that_dies_costs_one_pair(monkeypatch, tmp_path):
    """A worker that ends by itself is reported with its exit code; here a module in its place."""
    dying_worker(monkeypatch, tmp_path, "import sys; sys.exit(7)")
    (match,) = match_pairs([FINE_PAIR])
    assert (match.outcome, match.failure_class) == ("invalid", "too_large")
    assert match.reason == "the process that ran it died (exit code 7)"


def test_worker_that_is_killed_for_memory_is_too_large_and_no_timeout(monkeypatch, tmp_path):
    """The kernel kills a process with the signal that a worker gets when its time is up."""
    dying_worker(monkeypatch, tmp_path, "import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    (match,) = match_pairs([FINE_PAIR])
    assert (match.outcome, match.failure_class) == ("invalid", "too_large")
    assert match.reason == "the process that ran it was killed (signal 9), as it is when memory runs out"


def test_worker_that_does_not_start_is_an_error(monkeypatch, tmp_path):
    dying_worker(monkeypatch, tmp_path, "raise RuntimeError('no such library')")
    with pytest.raises(ScoringError, match="does not start: (?s:.*)no such library"):
        match_pairs([FINE_PAIR])


def dying_worker(monkeypatch: pytest.MonkeyPatch, folder: Path, code: str) -> None:
    """Put a module in place of the worker's."""
    package = folder / "sqltune" / "evaluation"
    package.mkdir(parents=True)
    (package / "worker.py").write_text(code)
    monkeypatch.setattr("sqltune.evaluation.execution_match.PACKAGES", folder)
