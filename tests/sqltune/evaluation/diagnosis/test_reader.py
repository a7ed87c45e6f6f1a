"""Reading of a query into its parts."""

from __future__ import annotations

import pytest

from sqltune.evaluation.diagnosis.parts import Nested, Query
from sqltune.evaluation.diagnosis.reader import UnreadableQuery, read_query

COLUMNS = {
    "line": frozenset({"line_id", "name"}),
    "tram": frozenset({"tram_id", "line_id", "seats"}),
}


def read(sql: str) -> Query:
    return read_query(sql, COLUMNS)


def results(sql: str) -> list[str]:
    return [result.text for result in read(sql).results]


@pytest.mark.parametrize(
    ("sql", "texts"),
    [
        ("SELECT seats FROM line JOIN tram USING (line_id)", ["tram.seats"]),
        ("SELECT t.seats FROM tram AS t", ["tram.seats"]),
        ("SELECT * FROM line", ["line.line_id", "line.name"]),
        ("SELECT t.* FROM line, tram AS t", ["tram.line_id", "tram.seats", "tram.tram_id"]),
        ("SELECT n FROM (SELECT MAX(seats) AS n FROM tram)", ["MAX(tram.seats)"]),
        ("SELECT 'x', \"y\", -3 FROM tram", ["'x'", "'y'", "-3"]),
        ("SELECT COUNT(DISTINCT seats) FROM tram", ["COUNT(DISTINCT tram.seats)"]),
        ("SELECT CAST(seats AS REAL) / 2 FROM tram", ["CAST(tram.seats, DOUBLE) / 2"]),
    ],
)
def test_results_are_resolved_to_the_columns_of_tables(sql, texts):
    assert results(sql) == texts


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT name FROM line JOIN tram ON tram.line_id = line.line_id",
        "SELECT name FROM line, tram WHERE line.line_id = tram.line_id",
        "SELECT name FROM line JOIN tram USING (line_id)",
        "SELECT name FROM line NATURAL JOIN tram",
    ],
)
def test_every_way_to_join_is_the_same_join(sql):
    query = read(sql)
    assert query.joins == {("line.line_id", "tram.line_id")}
    assert not query.where


@pytest.mark.parametrize(
    ("join", "optional"), [("LEFT JOIN", {"tram"}), ("RIGHT JOIN", {"line"}), ("FULL JOIN", {"line", "tram"})]
)
def test_outer_join_names_the_table_whose_partner_may_be_missing(join, optional):
    assert read(f"SELECT name FROM line {join} tram ON line.line_id = tram.line_id").optional == optional


def test_join_without_a_condition_has_none():
    query = read("SELECT name FROM line JOIN tram")
    assert not query.joins
    assert not query.where


def test_column_of_an_outer_query_is_its_table_s():
    query = read("SELECT name FROM line WHERE EXISTS (SELECT 1 FROM tram WHERE tram.line_id = line.line_id)")
    (condition,) = query.where
    assert isinstance(condition, Nested)
    assert condition.query.joins == {("line.line_id", "tram.line_id")}


def test_with_query_that_has_a_table_s_name_reads_that_table():
    (inner,) = read("WITH tram AS (SELECT seats FROM tram) SELECT seats FROM tram").derived
    assert dict(inner.tables) == {"tram": 1}


@pytest.mark.parametrize("sql", ["SELECT name FROM", "DROP TABLE line", "VALUES (1)"])
def test_what_is_no_query_is_refused(sql):
    with pytest.raises(UnreadableQuery):
        read(sql)


def test_chain_of_joins_without_conditions_is_refused_before_it_is_parsed():
    # The parser's time doubles with each of them.
    with pytest.raises(UnreadableQuery, match="joins without a condition"):
        read("SELECT name FROM line" + " JOIN tram" * 50)


def test_many_joins_with_conditions_are_read():
    joins = "".join(f" JOIN tram AS t{i} ON line.line_id = t{i}.line_id" for i in range(30))
    assert read(f"SELECT name FROM line{joins}").tables["tram"] == 30
