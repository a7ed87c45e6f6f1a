"""Rows of a dataset as questions."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from sqltune.errors import ScoringError
from sqltune.evaluation.questions import language, question_from_row

CONTEXT = "CREATE TABLE head (age INTEGER)"


@pytest.mark.parametrize(("question", "expected"), [("大多数部门在哪一年成立?", "zh"), ("How many?", "en")])
def test_language(question, expected):
    assert language(question) == expected


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("x", "not an object"),
        ({"answer": None, "context": "c"}, "no query under"),
        ({"query": "SELECT 1"}, "no 'context'"),
    ],
)
def test_row_without_what_a_question_needs_is_refused(row, message):
    with pytest.raises(ScoringError, match=message):
        question_from_row(row, "1", None)


def test_row_keeps_its_query_as_it_is():
    question = question_from_row({"query": "SELECT age FROM head", "context": CONTEXT}, "1", None)
    assert question.gold == "SELECT age FROM head"
    assert question.database is None


def test_answer_is_brought_to_sqlites_dialect():
    answer = "(SELECT age FROM head) UNION (SELECT age FROM head)"
    question = question_from_row({"answer": answer, "context": CONTEXT}, "1", None)
    assert question.gold == "SELECT age FROM head UNION SELECT age FROM head"


@pytest.fixture
def databases(tmp_path: Path) -> Path:
    """A folder with one database, in a folder of its own."""
    file = tmp_path / "heads" / "heads.sqlite"
    file.parent.mkdir()
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("CREATE TABLE head\n  (age INTEGER)")
    return tmp_path


def test_context_defaults_to_the_databases_schema(databases):
    question = question_from_row({"query": "SELECT 1", "db_id": "heads"}, "1", databases)
    assert question.context == CONTEXT
    assert question.database == str(databases / "heads" / "heads.sqlite")


def test_missing_database_is_named(databases):
    with pytest.raises(ScoringError, match=r"no database 'tails'.*tails\.sqlite"):
        question_from_row({"query": "SELECT 1", "db_id": "tails"}, "1", databases)
