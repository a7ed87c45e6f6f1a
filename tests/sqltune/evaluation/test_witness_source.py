"""Rows of a database file: its schema, its references, its samples."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from sqltune.evaluation.judge import Pair
from sqltune.evaluation.witness_source import Source, SourceRows
from tests.sqltune.evaluation.witnesses import CONTEXT, PLAYERS, TEAMS, database, league

JOIN = "SELECT p.name FROM player p JOIN team t ON p.team_id = t.id"


@pytest.fixture
def source(tmp_path) -> Source:
    """The teams and players."""
    return Source.of_file(league(tmp_path))


def rows(source: Source, gold: str = JOIN, predicted: str = "SELECT 1", context: str = CONTEXT) -> SourceRows:
    return SourceRows(source, ["team", "player"], Pair(gold, predicted, context))


def test_schema_creates_the_same_tables_without_rows(source):
    connection = source.schema.empty()
    assert connection.execute("SELECT count(*) FROM player").fetchone() == (0,)
    assert source.schema.columns["team"] == ("id", "name", "city")


def test_virtual_tables_are_left_out(tmp_path):
    file = tmp_path / "a.sqlite"
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.executescript("CREATE TABLE t (a); CREATE VIRTUAL TABLE v USING fts4(b)")
    assert "v" not in Source.of_file(str(file)).schema.create


def test_rows_are_kept_in_their_order(source):
    kept = rows(source).rows(frozenset({(1, 3), (0, 2), (1, 0)}))
    assert kept == {"team": [TEAMS[2]], "player": [PLAYERS[0], PLAYERS[3]]}


def test_links_lead_from_a_row_to_those_it_refers_to(source):
    links = rows(source).links
    assert links[(1, 0)] == [frozenset({(0, 0)})]
    assert (1, 4) not in links  # Eve is in no team.


def test_context_that_is_no_sql_has_no_links(source):
    assert not rows(source, context="CREATE TABLE").links


def test_samples_end_with_all_rows(source):
    *_, everything = rows(source).samples()
    assert len(everything) == len(TEAMS) + len(PLAYERS)


def test_samples_hold_what_their_rows_refer_to(source):
    several = rows(source)
    for sample in several.samples():
        assert all(
            not frozenset(sample).isdisjoint(to) for item in sample for to in several.links.get(item, ())
        )


def test_samples_hold_the_rows_that_a_literal_names(tmp_path):
    file = database(tmp_path / "a.sqlite", {"player": [(i, f"n{i}", 20, None) for i in range(5000)]})
    query = "SELECT age FROM player WHERE name = 'n4321'"
    named = rows(Source.of_file(file), query, query)
    assert all((1, 4321) in sample for sample in named.samples())


def test_column_with_many_equal_values_is_no_key(tmp_path):
    context = "CREATE TABLE team (id, name); CREATE TABLE player (name, team_id)"
    file = database(tmp_path / "a.sqlite", {"team": [(1, "x")] * 20, "player": [("Ann", 1)]}, context)
    assert not rows(Source.of_file(file), context=context).links
