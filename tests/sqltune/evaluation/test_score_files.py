"""Scoring of files, and the command that does it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sqltune.errors import SqltuneError
from sqltune.evaluation.score_files import read_predictions, score_files
from tests.conftest import ROOT, shared_data

ROWS = [
    {
        "question": f"question {i}",
        "context": "CREATE TABLE t (a INTEGER, b VARCHAR)",
        "answer": f"SELECT b FROM t WHERE a > {i}",
    }
    for i in range(10)
]


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """Ten gold queries, and predictions of which eight are right and one does not run."""
    gold, predictions = tmp_path / "gold.jsonl", tmp_path / "predictions.json"
    gold.write_text("\n".join(json.dumps(row | {"answer_sqlite": None}) for row in ROWS))
    right = [{"result": row["answer"].removeprefix("SELECT ")} for row in ROWS[:8]]
    predictions.write_text(json.dumps([*right, "SELECT x FROM t", "SELECT 1"]))
    return gold, predictions


def test_json_of_a_score(files):
    score = json.loads(score_files(*files, as_json=True))
    assert score["questions"] == 10
    assert score["matched"] == 8
    assert score["strict"] == 8
    assert score["invalid_by_class"] == {"unknown_column": 1}


def test_report_for_people(files):
    report = score_files(*files)
    assert "total         10\n" in report
    assert "matched       8 (80.00 %)" in report
    assert "unknown column      1" in report


@pytest.fixture
def after(files) -> Path:
    """Predictions of which nine are right."""
    file = files[1].with_name("after.json")
    file.write_text(json.dumps([*(row["answer"] for row in ROWS[:9]), "SELECT b FROM t WHERE a > 90"]))
    return file


def test_report_counts_wrong_answers_by_error_class(files):
    assert "other rows    1 (10.00 %)\n  table               1\n" in score_files(*files)


def test_two_files_are_shown_side_by_side_with_their_error_classes(files, after):
    lines = [line.split() for line in score_files(*files, after=after).splitlines()]
    assert ["before", "after"] in lines
    assert ["model", "predictions", "after"] in lines
    assert ["execution", "match", "8/10", "(80%)", "9/10", "(90%)"] in lines
    assert ["table", "1", "0"] in lines
    assert ["value", "0", "1"] in lines


def test_json_of_two_files(files, after):
    document = json.loads(score_files(*files, as_json=True, after=after))
    assert document["before"]["mismatched_by_class"] == {"table": 1}
    assert document["after"]["mismatched_by_class"] == {"value": 1}


def test_second_file_must_fit_too(files, after):
    after.write_text("SELECT 1\n")
    with pytest.raises(SqltuneError, match=r"10 rows and in .*after.json 1 predictions"):
        score_files(*files, after=after)


@pytest.mark.parametrize(
    ("predictions", "databases", "message"),
    [
        ("SELECT 1", None, "10 rows and"),
        ("[1]", None, "is not a query"),
        ("[{]", None, "can't be read"),
        ("SELECT 1\n" * 10, "/nowhere", "--databases: /nowhere is not a folder"),
        ("SELECT 1\n" * 10, ".", "no database ''"),
    ],
)
def test_files_that_do_not_fit_are_refused(tmp_path, predictions, databases, message):
    gold, file = tmp_path / "gold.json", tmp_path / "predictions"
    gold.write_text(json.dumps(ROWS))
    file.write_text(predictions)
    with pytest.raises(SqltuneError) as e:
        score_files(gold, file, databases and Path(databases))
    assert message in str(e.value)


@pytest.mark.parametrize("missing", ["gold", "predictions"])
def test_missing_file_is_named(tmp_path, missing):
    for name in {"gold", "predictions"} - {missing}:
        (tmp_path / name).write_text(json.dumps(ROWS))
    with pytest.raises(SqltuneError, match=rf"{missing}.*can't be read"):
        score_files(tmp_path / "gold", tmp_path / "predictions")


def test_leading_select_is_added_to_results_without_one(tmp_path):
    file = tmp_path / "predictions.json"
    file.write_text(json.dumps([{"result": " a FROM t"}, {"result": "select a FROM t"}, "a FROM t"]))
    assert read_predictions(file) == ["SELECT  a FROM t", "select a FROM t", "a FROM t"]


def command(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "sqltune.cli", "score", *map(str, arguments)],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT / "plugins")},
        timeout=120,
    )


def test_command_prints_the_report(files):
    result = command(*files)
    assert result.returncode == 0
    assert "matched       8 (80.00 %)" in result.stdout


def test_command_compares_two_files(files, after):
    result = command(*files, after)
    assert result.returncode == 0
    assert "other rows" in result.stdout


def test_command_exits_with_2_when_the_files_do_not_fit(files):
    gold, _ = files
    result = command(gold, gold.parent / "nowhere")
    assert result.returncode == 2
    assert "nowhere: can't be read" in result.stderr
    assert not result.stdout


@pytest.mark.parametrize(
    ("file", "share"), [("chatgpt-2303-spider.json", 69.9), ("codes-1b-spider-dev.txt", 78.7)]
)
def test_command_is_calibrated_on_spider(file, share):
    data = shared_data("spider_dev")
    result = command(data / "dev.json", data / "predictions" / file, "--databases", data / "sqlite", "--json")
    score = json.loads(result.stdout)
    assert score["questions"] == 1034
    assert 100 * score["matched"] / 1034 == pytest.approx(share, abs=0.3)
    assert sum(tally["evaluated"] for tally in score["by_hardness"].values()) == 1034
    assert score["exact"] <= score["matched"]
