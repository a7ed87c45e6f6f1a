"""The command that normalises a file."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest

from sqltune.dataset.normalise_file import run
from sqltune.errors import DatasetError
from tests.conftest import ROOT

CONTEXT = "CREATE TABLE 城市 (名称 VARCHAR, 总GDP(亿) NUMBER)"
ROWS = [
    {"db_id": "cities", "context": CONTEXT, "answer": "select 名称 from 城市 order by 总GDP(亿) limit3"},
    {"db_id": "cities", "context": CONTEXT, "answer": "select 名称 from 城市"},
    {"db_id": "cities", "context": CONTEXT, "answer": "select 面积 from 城市"},
]


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return path


def test_the_report_counts_changes_and_what_runs(file):
    assert run(file).summary == "3 rows, 1 changed (quote_names 1, split_limit 1), 2 run (66.7 %)"


def test_the_report_lists_what_does_not_run(file):
    assert run(file).problems == ["can't be normalised (no such column: 面积): select 面积 from 城市"]


def test_queries_are_tried_on_the_databases(file, tmp_path):
    with closing(sqlite3.connect(tmp_path / "cities.sqlite")) as connection:
        connection.execute('CREATE TABLE 城市 (名称 TEXT, "总GDP(亿)" REAL, 面积 REAL)')
    assert run(file, tmp_path).problems == []


@pytest.mark.parametrize("module", ["sqltune.sql.normalise", "sqltune.dataset.normalise_file"])
def test_the_command_prints_rows_and_counts(file, module):
    done = subprocess.run(
        [sys.executable, "-m", module, str(file)],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT / "plugins")},
        timeout=60,
        check=False,
    )
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0
    assert [row["answer_sqlite"] for row in rows] == [
        'select 名称 from 城市 order by "总GDP(亿)" limit 3',
        "select 名称 from 城市",
        None,
    ]
    assert rows[0] == ROWS[0] | {key: rows[0][key] for key in ("answer_sqlite", "rules", "problem")}
    assert done.stderr.splitlines()[-1].startswith("3 rows, 1 changed")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"question": "q"}', "a row has neither 'answer' nor 'query'"),
        ("[1]", "a row has neither 'answer' nor 'query': 1"),
        ("{oops", "line 1: not JSON"),
    ],
)
def test_a_row_without_a_query_is_an_error(tmp_path, text, message):
    path = tmp_path / "rows.jsonl"
    path.write_text(text)
    with pytest.raises(DatasetError, match=message):
        run(path)


def test_a_missing_file_is_an_error(tmp_path):
    with pytest.raises(DatasetError, match="can't be normalised"):
        run(tmp_path / "missing.jsonl")


def test_a_row_without_a_database_is_an_error(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"answer": "select 1"}')
    with pytest.raises(DatasetError, match="db_id"):
        run(path, tmp_path)
