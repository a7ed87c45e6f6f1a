"""Whether two queries are one in another spelling."""

from __future__ import annotations

import pytest

from sqltune.sql.queries import first_word, same_spelling
from sqltune.sql.tokens import MAX_LENGTH

GOLD = "SELECT name FROM head WHERE city = 'Bonn'"


@pytest.mark.parametrize(
    "other",
    [
        "select NAME\nfrom HEAD  where city='Bonn' ;",
        "SELECT name /* of all */ FROM head WHERE city = 'Bonn' -- the end",
        f"{GOLD} /* not closed ",
    ],
)
def test_blanks_comments_case_and_a_last_semicolon_are_spelling(other):
    assert same_spelling(GOLD, other)


@pytest.mark.parametrize(
    "other",
    [
        "SELECT name FROM head WHERE city = 'bonn'",
        "SELECT name FROM head WHERE city = 'Bo nn'",
        "SELECT na me FROM head WHERE city = 'Bonn'",
        "SELECT name FROM head; WHERE city = 'Bonn'",
        "SELECT name FROM head WHERE city = 'Bonn' -- or\nOR 1",
        'SELECT name FROM head WHERE city = "Bonn"',
    ],
)
def test_everything_else_is_another_query(other):
    assert not same_spelling(GOLD, other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        # SQLite takes a blank of another script for a part of a name, and knows case in ASCII alone.
        ("SELECT 年龄 FROM t", "SELECT\u3000年龄 FROM t"),
        ("SELECT é FROM t", "SELECT É FROM t"),
        ("SELECT x'00' FROM t", "SELECT x '00' FROM t"),
        # Its operators have no blank within.
        ("SELECT a << 2 FROM t", "SELECT a < < 2 FROM t"),
        ("SELECT a >> 2 FROM t", "SELECT a >/**/> 2 FROM t"),
        ("SELECT a -> 'k' FROM t", "SELECT a - > 'k' FROM t"),
        ("SELECT a ->> 'k' FROM t", "SELECT a -> > 'k' FROM t"),
        # No comment begins at the end of a query, and nothing follows its semicolon.
        (GOLD, f"{GOLD} /*"),
        (GOLD, f"{GOLD};;"),
        (f"{GOLD};", f"{GOLD}; ;"),
    ],
)
def test_what_sqlite_tells_apart_is_another_query(one, other):
    assert not same_spelling(one, other)


@pytest.mark.parametrize("end", [" " * MAX_LENGTH, f" --{'x' * MAX_LENGTH}", " -- \0"])
def test_a_query_that_is_refused_unread_is_another_query(end):
    assert not same_spelling(GOLD, f"{GOLD}{end}")


@pytest.mark.parametrize(
    ("query", "word"), [(" -- c\n((Select 1))", "select"), ("", ""), ("/* */ ( ", ""), ("; x", ";")]
)
def test_the_first_word_is_behind_blanks_comments_and_parentheses(query, word):
    assert first_word(query) == word
