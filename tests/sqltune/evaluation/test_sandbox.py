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


def test_refill_replaces_the_rows(database):
    database.refill({"t": [(7,)]})
    assert database.rows("SELECT a FROM t") == [(7,)]


def test_refilled_database_is_read_only(database):
    database.refill({"t": [(7,)]})
    assert failure(database, "WITH x AS (SELECT 1) INSERT INTO t SELECT 8").failure_class == "not_a_select"
    assert database.rows("SELECT a FROM t") == [(7,)]


@pytest.mark.parametrize(
    "statement", ['DELETE FROM "t"', 'INSERT INTO "t" VALUES (8)', "PRAGMA query_only = 0"]
)
def test_statements_of_a_refill_can_not_be_run_again(database, statement):
    """The connection keeps compiled statements, and the authorizer is asked only when one is compiled."""
    database.refill({"t": [(7,)]})
    assert failure(database, statement).failure_class == "not_a_select"
    assert database.rows("SELECT a FROM t") == [(7,)]


def test_database_stays_read_only_when_rows_do_not_fit(database):
    with pytest.raises(sqlite3.Error):
        database.refill({"t": [(1, 2)]})
    assert failure(database, "WITH x AS (SELECT 1) DELETE FROM t").failure_class == "not_a_select"


def test_reads_are_the_tables_and_columns_that_queries_read(database):
    database.rows("SELECT a + 1 FROM t WHERE 1 = 1")
    assert database.reads == {("t", "a")}


def test_steps_of_all_queries_together_are_limited(database):
    loop = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 5000) SELECT max(i) FROM n"
    assert database.rows(loop) == [(5000,)]
    database.max_steps = database.steps
    assert failure(database, loop).failure_class == "timeout"


def test_database_is_usable_after_a_failure(database):
    failure(database, "DROP TABLE t")
    assert len(database.rows("SELECT a FROM t")) == 3


def test_text_that_is_not_utf_8_is_replaced_whatever_was_read_before():
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE t (a TEXT)")
    connection.execute("INSERT INTO t VALUES ('ü'), (CAST(x'fc61' AS TEXT))")
    with closing(Database(connection)) as database:
        assert database.rows("SELECT a FROM t WHERE a = 'ü'") == [("ü",)]
        assert database.rows("SELECT a FROM t") == [("ü",), ("\ufffda",)]
        assert database.rows("SELECT a FROM t ORDER BY 1") == [("ü",), ("\ufffda",)]


def test_file_is_opened_without_a_trace(tmp_path: Path):
    file = tmp_path / "t.sqlite"
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("CREATE TABLE t (a INTEGER)")
    Database.open_file(file).rows("SELECT a FROM t")
    assert [path.name for path in tmp_path.iterdir()] == ["t.sqlite"]
