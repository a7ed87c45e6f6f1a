"""Suites by name: files, benchmarks, and the held-out rows of a run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sqltune.config import paths
from sqltune.errors import ConfigError
from sqltune.evaluation.scorer import score_answers
from sqltune.evaluation.suites import assemble, held_out, load, names
from tests.conftest import shared_data

ROWS = [
    {
        "question": f"question {i}",
        "context": "CREATE TABLE t (a INTEGER, b VARCHAR)",
        "answer": f"SELECT b FROM t WHERE a > {i}",
    }
    for i in range(10)
]


def test_reference_prompts_come_first_in_every_suite():
    assert assemble(held_out(ROWS))[:3] == load("reference")


def test_reference_prompts_are_three_and_guarded():
    prompts = load("reference")
    assert len(prompts) == 3
    assert all(q.must_not_break for q in prompts)


def test_held_out_id_stays_with_its_row_in_another_sample():
    assert {q.id for q in held_out(ROWS[5:])} < {q.id for q in held_out(ROWS)}


@pytest.fixture
def benchmarks(monkeypatch) -> None:
    """The benchmarks of the shared data."""
    monkeypatch.setenv("SQLTUNE_SUITES", str(shared_data("spider_dev").parent))


def test_benchmarks_are_suites_by_the_names_of_their_folders(benchmarks):
    assert {"spider_dev", "dusql_dev"} <= set(names())


def test_benchmark_gives_the_same_sample_each_time(benchmarks):
    sample = load("spider_dev", 20)
    assert sample == load("spider_dev", 20)
    assert len({q.id for q in sample}) == 20


def test_benchmark_questions_have_a_context_and_a_database(benchmarks):
    for question in load("spider_dev", 20):
        assert "CREATE TABLE" in question.context
        assert Path(question.database).is_file()


@pytest.mark.parametrize("name", ["spider_dev", "dusql_dev"])
def test_gold_queries_of_a_benchmark_match_themselves(benchmarks, name):
    suite = load(name, 20)
    assert score_answers("gold", suite, {q.id: q.gold for q in suite}).matched == 20


@pytest.fixture
def malformed(monkeypatch, tmp_path) -> None:
    """A suite `mine` with a mistake of each kind."""
    (tmp_path / "regression").mkdir()
    row = {"id": "a", "question": "q", "context": "CREATE TABLE t (a INTEGER)", "gold": "SELECT a FROM t"}
    rows = (
        row,
        row,
        row | {"id": "b", "gold": ""},
        row | {"id": "c", "database": "no.sqlite"},
        {"id": "d"},
    )
    (tmp_path / "regression" / "mine.jsonl").write_text("\n".join(map(json.dumps, rows)))
    monkeypatch.setattr(paths, "CONFIGS", tmp_path)


@pytest.mark.parametrize(
    "mistake",
    [
        "line 2: id 'a' is used before",
        "line 3.gold",
        "line 4: database 'no.sqlite' is not in",
        "line 5.question: is missing",
    ],
)
def test_malformed_suite_names_every_mistake(malformed, mistake):
    with pytest.raises(ConfigError) as e:
        load("mine")
    assert mistake in str(e.value)


def test_an_unknown_suite_is_refused_with_the_existing_names(malformed):
    with pytest.raises(ConfigError, match=r"suites: 'other' does not exist \(choices: mine\)"):
        load("other")
