"""The audit of a file or a suite, as the command prints it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sqltune.config import paths
from sqltune.errors import SqltuneError
from sqltune.evaluation.audit.audit_files import audit_source

CONTEXT = "CREATE TABLE city (name VARCHAR, founded TIME)"
ROWS = [
    {"id": "right", "question": "哪些城市？", "context": CONTEXT, "answer": "SELECT name FROM city"},
    {
        "id": "date",
        "question": "2010年1月1日之后成立的城市？",
        "context": CONTEXT,
        "answer": "SELECT name FROM city WHERE founded > 2010-01-01",
    },
]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file with a question that is right, and one with a date without quotes."""
    rows = tmp_path / "rows.jsonl"
    rows.write_text("\n".join(map(json.dumps, ROWS)))
    return rows


def test_report_for_people(file):
    assert audit_source(str(file)) == (
        "date\n"
        "  unquoted_date: 2010-01-01 is the number 2008\n"
        "    question  2010年1月1日之后成立的城市？\n"
        "    gold      SELECT name FROM city WHERE founded > 2010-01-01\n"
        "1 of 2 gold queries are doubtful\n"
        "  unquoted_date           1"
    )


def test_json_for_scripts(file):
    (line,) = audit_source(str(file), as_json=True).splitlines()
    found = json.loads(line)
    assert found["id"] == "date"
    assert found["flags"] == [{"reason": "unquoted_date", "detail": "2010-01-01 is the number 2008"}]


def test_rows_without_ids_have_their_numbers(tmp_path):
    file = tmp_path / "rows.jsonl"
    file.write_text("\n".join(json.dumps(row | {"id": ""}) for row in ROWS))
    assert audit_source(str(file)).startswith("000002\n")


def test_two_files_of_predictions_show_where_both_contradict_the_gold(tmp_path):
    file, predictions = tmp_path / "rows.jsonl", tmp_path / "predictions.txt"
    file.write_text("\n".join(json.dumps(ROWS[0] | {"id": f"q{i}"}) for i in range(2)))
    predictions.write_text("SELECT name FROM city\nSELECT founded FROM city\n")
    report = audit_source(str(file), predictions=[predictions, predictions])
    assert report.startswith("q1\n  models_agree")


@pytest.fixture
def suites(monkeypatch, tmp_path) -> Path:
    """A suite `mine` of the same rows; its folder."""
    folder = tmp_path / "regression"
    folder.mkdir()
    rows = [{"id": r["id"], "question": r["question"], "context": CONTEXT, "gold": r["answer"]} for r in ROWS]
    (folder / "mine.jsonl").write_text("\n".join(map(json.dumps, rows)))
    monkeypatch.setattr(paths, "CONFIGS", tmp_path)
    return folder


def test_suite_is_audited_by_its_name(suites):
    assert audit_source("mine").startswith("date\n  unquoted_date")


def test_file_of_a_suite_is_audited_as_well(suites):
    assert audit_source(str(suites / "mine.jsonl")).startswith("date\n  unquoted_date")


def test_corrected_question_is_no_longer_doubtful(suites):
    (suites / "corrections.yaml").write_text(
        "- {id: date, gold: SELECT name FROM city WHERE founded > '2010-01-01', author: a, reason: r}\n"
    )
    assert audit_source("mine") == "0 of 2 gold queries are doubtful"


@pytest.mark.parametrize(
    ("source", "predictions", "message"),
    [
        ("nowhere", 0, "'nowhere' is neither a file nor a suite (suites: mine)"),
        ("mine", 1, "--predictions: 1 given: give two files, or none"),
        ("mine", 2, "can't be read"),
    ],
)
def test_what_can_not_be_audited_is_named(suites, source, predictions, message):
    with pytest.raises(SqltuneError) as e:
        audit_source(source, predictions=[Path("no.txt")] * predictions)
    assert message in str(e.value)
