"""Hardness, clauses, and what counts as the same query."""

from __future__ import annotations

import pytest

from sqltune.sql.shape import clauses, hardness, same_query


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        # By the rules of Spider's evaluation.
        ("SELECT count(*) FROM cars_data WHERE cylinders > 4", "easy"),
        (
            "SELECT T2.name, COUNT(*) FROM concert AS T1 JOIN stadium AS T2 ON T1.stadium_id = "
            "T2.stadium_id GROUP BY T1.stadium_id",
            "medium",
        ),
        (
            "SELECT T1.country_name FROM countries AS T1 JOIN continents AS T2 ON T1.continent = "
            "T2.cont_id JOIN car_makers AS T3 ON T1.country_id = T3.country WHERE T2.continent = "
            "'Europe' GROUP BY T1.country_name HAVING COUNT(*) >= 3",
            "extra",
        ),
        (
            "SELECT AVG(life_expectancy) FROM country WHERE name NOT IN (SELECT T1.name FROM country AS "
            "T1 JOIN country_language AS T2 ON T1.code = T2.country_code WHERE T2.language = 'English')",
            "hard",
        ),
        ("SELECT name FROM t WHERE a IN (SELECT a FROM u)", "hard"),
        ("SELECT name FROM t", "easy"),
        ("SELECT name, age FROM t ORDER BY age", "medium"),
    ],
)
def test_hardness(query, expected):
    assert hardness(query) == expected


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("SELECT a FROM t", ()),
        (
            "SELECT DISTINCT a FROM t JOIN u ON t.i = u.i WHERE a = 'group by' ORDER BY a LIMIT 3",
            ("where", "order by", "limit", "join", "distinct"),
        ),
        ("SELECT a FROM t GROUP BY a HAVING count(*) > 1", ("group by", "having", "aggregate")),
        ("SELECT a FROM t EXCEPT SELECT a FROM u", ("set operation",)),
        ("SELECT a FROM t WHERE b = (SELECT max(b) FROM t)", ("where", "aggregate", "subquery")),
    ],
)
def test_clauses(query, expected):
    assert clauses(query) == expected


@pytest.mark.parametrize(
    "other",
    [
        "select NAME from HEAD where AGE > 56",
        "SELECT h.name FROM head AS h WHERE h.age > 56",
        "SELECT name FROM head WHERE age > 56 ;",
        'SELECT "name" FROM "head" WHERE "age" > 56',
        "SELECT name AS n FROM head WHERE age > 56",
    ],
)
def test_the_same_but_for_spelling(other):
    assert same_query("SELECT name FROM head WHERE age > 56", other)


@pytest.mark.parametrize(
    "other",
    [
        "SELECT name FROM head WHERE age >= 56",
        "SELECT name FROM head",
        "SELECT age FROM head WHERE age > 56",
        "SELECT name FROM head WHERE age > '5 6'",
        "no sql",
    ],
)
def test_another_query(other):
    assert not same_query("SELECT name FROM head WHERE age > 56", other)


def test_conditions_may_come_in_another_order():
    assert same_query("SELECT a FROM t WHERE b = 1 AND c = 2", "SELECT a FROM t WHERE c = 2 AND 1 = b")
    assert not same_query("SELECT a FROM t WHERE b = 'X'", "SELECT a FROM t WHERE b = 'x'")
