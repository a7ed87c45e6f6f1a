"""The database that can only be read, in this process."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from sqltune.evaluation.failures import QueryFailed
from sqltune.evaluation.sandbox import MAX_SECONDS, Database


@pytest.fixture
def database() -> Database:
    """Three rows in memory."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.execute("CREATE TABLE t (a INTEGER)")
    connection.executemany("INSERT INTO t VALUES (?)", [(1,), (2,), (3,)])
    return Database(connection)


def failure(database: Database, query: str) -> QueryFailed:
    with pytest.raises(QueryFailed) as e:
        database.rows(query)
    return e.value


def test_select_returns_its_rows(database):
    assert database.rows("SELECT a FROM t WHERE a > 1") == [(2,), (3,)]


@pytest.mark.parametrize(
    ("query", "failure_class"),
    [
        ("", "syntax"),
        ("SELECT a FROM t; SELECT a FROM t", "several_statements"),
        ("SELECT b FROM t", "unknown_column"),
        ("SELECT a FROM u", "unknown_table"),
        ("DELETE FROM t", "not_a_select"),
        ("SELECT load_extension('x')", "forbidden"),
        ("SELECT a FROM t" + " " * 200_000, "too_large"),
        ("WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x FROM c) SELECT sum(x) FROM c", "timeout"),
    ],
)
def test_query_that_fails_has_a_class(database, query, failure_class):
    assert failure(database, query).failure_class == failure_class


def test_timeout_names_the_limit(database):
    query = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x FROM c) SELECT sum(x) FROM c"
    assert str(failure(database, query)) == f"took longer than {MAX_SECONDS:g} s"


def test_database_is_usable_after_a_failure(database):
    failure(database, "DROP TABLE t")
    assert len(database.rows("SELECT a FROM t")) == 3


def test_file_is_opened_without_a_trace(tmp_path: Path):
    file = tmp_path / "t.sqlite"
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("CREATE TABLE t (a INTEGER)")
    Database.open_file(file).rows("SELECT a FROM t")
    assert [path.name for path in tmp_path.iterdir()] == ["t.sqlite"]
