"""Texts of a database that a question contains."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from sqltune.evaluation.audit.database_values import mentioned_values, text_values

CONTEXT = "CREATE TABLE city (name TEXT, province TEXT, gdp NUMBER)"


@pytest.fixture
def database(tmp_path: Path) -> str:
    """Two cities."""
    file = tmp_path / "cities.sqlite"
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute(CONTEXT)
        connection.executemany(
            "INSERT INTO city VALUES (?, ?, ?)",
            [(" 成都 ", "四川", 5), ("3号城", "AND", 7), ("C", "四川", 1)],
        )
    return str(file)


def test_texts_of_every_column_without_blanks_around_them(database):
    assert text_values(database, CONTEXT) == {"成都", "四川", "AND", "C"}


def test_column_that_the_file_does_not_have_is_left_out(database):
    assert "四川" in text_values(database, CONTEXT + "; CREATE TABLE other (a TEXT)")


@pytest.mark.parametrize(
    ("question", "found"),
    [
        ("四川省的成都", ("四川", "成都")),
        ("salt and pepper", ()),
        ("the airport AND", ("AND",)),
        ("AND1", ()),
        ("B轮比C轮", ("C",)),
        ("Plan C", ()),
    ],
)
def test_texts_that_a_question_contains(question, found):
    values = {"成都", "四川", "AND", "C"}
    assert sorted(mentioned_values(question, values, ())) == sorted(found)


def test_text_inside_a_name_is_not_one():
    assert mentioned_values("成都市GDP", {"成都"}, ["成都市gdp"]) == ()


def test_longest_text_is_taken_where_texts_overlap():
    assert mentioned_values("北京大学", {"北京", "北京大学"}, ()) == ("北京大学",)
