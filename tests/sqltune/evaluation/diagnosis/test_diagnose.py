"""The error class of a wrong answer, and the sentences that say what is wrong with it."""

from __future__ import annotations

import pytest

from sqltune.evaluation.diagnosis.diagnose import MAX_LENGTH, diagnose
from sqltune.evaluation.diagnosis.steps import ERROR_CLASSES

CONTEXT = (
    "CREATE TABLE reader (reader_id INTEGER PRIMARY KEY, name VARCHAR, city VARCHAR, age INTEGER); "
    "CREATE TABLE book (book_id INTEGER PRIMARY KEY, title VARCHAR, genre VARCHAR, pages INTEGER); "
    "CREATE TABLE loan (loan_id INTEGER PRIMARY KEY, reader_id INTEGER, book_id INTEGER, days INTEGER)"
)


def texts(gold: str, answer: str) -> list[str]:
    """What is wrong with an answer."""
    return [difference.text for difference in diagnose(gold, answer, CONTEXT).differences]


@pytest.mark.parametrize(
    ("gold", "answer", "error_class", "text"),
    [
        (
            "SELECT name FROM reader WHERE age > 56",
            "SELECT name FROM reader WHERE age >= 56",
            "condition",
            "filters age >= 56 instead of age > 56",
        ),
        (
            "SELECT name FROM reader WHERE age > 56",
            "SELECT name FROM reader",
            "condition",
            "does not filter age > 56",
        ),
        (
            "SELECT name FROM reader WHERE age > 5 OR city = 'Lyon'",
            "SELECT name FROM reader WHERE age > 5 AND city = 'Lyon'",
            "condition",
            "does not filter age > 5 OR city = 'Lyon'",
        ),
        (
            "SELECT name FROM reader WHERE city = 'Lyon'",
            "SELECT name FROM reader WHERE city = 'lyon'",
            "value",
            "filters city = 'lyon' instead of city = 'Lyon'",
        ),
        (
            "SELECT name FROM reader",
            "SELECT name, age FROM reader",
            "column",
            "also returns age",
        ),
        (
            "SELECT name FROM reader WHERE age > 5",
            "SELECT name FROM reader WHERE reader_id > 5",
            "column",
            "filters reader_id > 5 instead of age > 5",
        ),
        (
            "SELECT MAX(age) FROM reader",
            "SELECT MIN(age) FROM reader",
            "function",
            "returns MIN(age) instead of MAX(age)",
        ),
        (
            "SELECT COUNT(*) FROM reader",
            "SELECT name FROM reader",
            "function",
            "returns name instead of COUNT(*)",
        ),
        (
            "SELECT MAX(age) - MIN(age) FROM reader",
            "SELECT MAX(age) + MIN(age) FROM reader",
            "function",
            "returns MAX(age) + MIN(age) instead of MAX(age) - MIN(age)",
        ),
        (
            "SELECT city, COUNT(*) FROM reader GROUP BY city",
            "SELECT COUNT(*) FROM reader",
            "grouping",
            "does not group by city",
        ),
        (
            "SELECT city, COUNT(*) FROM reader GROUP BY city",
            "SELECT city, COUNT(*) FROM reader GROUP BY age",
            "grouping",
            "groups by age instead of city",
        ),
        (
            "SELECT name FROM reader ORDER BY age DESC LIMIT 1",
            "SELECT name FROM reader ORDER BY age LIMIT 1",
            "ordering",
            "orders by age ascending instead of descending",
        ),
        (
            "SELECT name FROM reader ORDER BY age LIMIT 3",
            "SELECT name FROM reader ORDER BY age LIMIT 1",
            "ordering",
            "takes 1 row instead of 3 rows",
        ),
        (
            "SELECT title FROM book",
            "SELECT name FROM reader",
            "table",
            "reads reader instead of book",
        ),
        (
            "SELECT T1.name FROM reader T1 JOIN loan T2 ON T1.reader_id = T2.reader_id WHERE T2.days > 9",
            "SELECT name FROM reader WHERE age > 9",
            "table",
            "does not read loan",
        ),
        (
            "SELECT COUNT(*) FROM reader AS T1 JOIN loan AS T2 ON T1.reader_id = T2.reader_id",
            "SELECT COUNT(*) FROM reader",
            "join",
            "does not join loan",
        ),
        (
            "SELECT days FROM loan JOIN book ON loan.book_id = book.book_id WHERE pages > 9",
            "SELECT days FROM loan JOIN book ON loan.loan_id = book.book_id WHERE pages > 9",
            "join",
            "joins on book.book_id = loan.loan_id instead of book.book_id = loan.book_id",
        ),
        (
            "SELECT name, days FROM reader JOIN loan ON reader.reader_id = loan.reader_id",
            "SELECT name, days FROM reader LEFT JOIN loan ON reader.reader_id = loan.reader_id",
            "join",
            "keeps rows without a partner in loan (LEFT JOIN)",
        ),
        (
            "SELECT name, days FROM reader JOIN loan ON reader.reader_id = loan.reader_id",
            "SELECT name, days FROM reader, loan",
            "join",
            "does not join on loan.reader_id = reader.reader_id",
        ),
        (
            "SELECT title FROM book WHERE book_id NOT IN (SELECT book_id FROM loan)",
            "SELECT title FROM book",
            "sub-query",
            "has no inner query: book.book_id NOT IN (SELECT book_id FROM loan)",
        ),
        (
            "SELECT title FROM book WHERE book_id NOT IN (SELECT book_id FROM loan)",
            "SELECT title FROM book WHERE book_id IN (SELECT book_id FROM loan)",
            "sub-query",
            "compares by IN instead of NOT IN",
        ),
        (
            "SELECT city FROM reader WHERE age < 9 INTERSECT SELECT city FROM reader WHERE age > 60",
            "SELECT city FROM reader WHERE age < 9 OR age > 60",
            "sub-query",
            "has no INTERSECT SELECT city FROM reader WHERE age > 60",
        ),
        (
            "SELECT name, city FROM reader WHERE age < 9 UNION SELECT name, city FROM reader WHERE age > 60",
            "SELECT name, city FROM reader WHERE age < 9 EXCEPT SELECT name, city FROM reader WHERE age > 60",
            "sub-query",
            "uses EXCEPT instead of UNION",
        ),
    ],
)
def test_first_difference_gives_the_class(gold, answer, error_class, text):
    diagnosis = diagnose(gold, answer, CONTEXT)
    assert (diagnosis.error_class, diagnosis.differences[0].text) == (error_class, text)


def test_all_differences_are_listed_in_the_order_of_repair():
    assert texts(
        "SELECT name FROM reader WHERE age > 5 ORDER BY age",
        "SELECT MAX(name), city FROM reader WHERE age > 6 ORDER BY age DESC",
    ) == [
        "also returns city",
        "returns MAX(name) instead of name",
        "filters age > 6 instead of age > 5",
        "orders by age descending instead of ascending",
    ]


def test_difference_in_an_inner_query_says_so():
    gold = "SELECT name FROM reader WHERE age > (SELECT AVG(age) FROM reader)"
    answer = "SELECT name FROM reader WHERE age > (SELECT MAX(age) FROM reader)"
    assert texts(gold, answer) == ["returns MAX(age) instead of AVG(age), in an inner query"]


SPELLINGS = (
    ("SELECT T1.name FROM reader AS T1", 'select "name" from Reader'),
    ("SELECT name, age FROM reader", "SELECT age AS years, name FROM reader"),
    ("SELECT name FROM reader WHERE age > 5 AND city = 'x'", "… WHERE 'x' = city AND 5 < age"),
    ("SELECT name FROM reader WHERE age BETWEEN 5 AND 9", "… WHERE age <= 9 AND age >= 5"),
    ("SELECT name FROM reader WHERE age = 5 OR age = 9", "… WHERE age IN (9, 5)"),
    ("SELECT name FROM reader WHERE NOT age > 5", "… WHERE age <= 5.0"),
    ("SELECT name FROM reader WHERE age > = 5", "… WHERE age >= '5'"),
    ("SELECT name FROM reader WHERE city = 'x'", '… WHERE city = "x"'),
    ("SELECT name FROM reader WHERE name LIKE '%A%'", "… WHERE name LIKE '%a%'"),
    ("SELECT name FROM reader WHERE age NOT BETWEEN 5 AND 9", "… WHERE age < 5 OR age > 9"),
    ("SELECT COUNT(*) FROM reader", "SELECT COUNT(reader_id) FROM reader"),
    ("SELECT city, COUNT(*) FROM reader GROUP BY city", "SELECT city, COUNT(*) n FROM reader GROUP BY 1"),
    ("SELECT city FROM reader GROUP BY city ORDER BY COUNT(*)", "… GROUP BY city ORDER BY count(name)"),
    ("SELECT age * pages FROM reader, book", "SELECT pages * age FROM book, reader"),
    (
        "SELECT name, days FROM reader AS T1 JOIN loan AS T2 ON T1.reader_id = T2.reader_id",
        "SELECT name, days FROM loan, reader WHERE reader.reader_id = loan.reader_id",
    ),
    (
        "SELECT name FROM reader WHERE EXISTS (SELECT 1 FROM loan WHERE reader.reader_id = loan.reader_id)",
        "SELECT name FROM reader WHERE reader_id IN (SELECT reader_id FROM loan)",
    ),
    (
        "WITH old AS (SELECT * FROM reader WHERE age > 60) SELECT name FROM old",
        "SELECT name FROM (SELECT * FROM reader WHERE age > 60)",
    ),
    (
        "( SELECT name , age FROM reader ) UNION ( SELECT title , pages FROM book )",
        "SELECT name, age FROM reader UNION SELECT title, pages FROM book",
    ),
)
"""Pairs of one meaning; … is the beginning of the first query."""


@pytest.mark.parametrize(("gold", "answer"), SPELLINGS)
def test_spellings_of_one_query_do_not_differ(gold, answer):
    answer = answer.replace("…", gold.partition(" WHERE" if " WHERE" in gold else " GROUP")[0])
    assert texts(gold, answer) == ["differs in nothing that the syntax trees show"]


@pytest.mark.parametrize(
    ("gold", "answer", "text"),
    [
        (
            "SELECT name FROM reader ORDER BY age DESC LIMIT 1",
            "SELECT name FROM reader WHERE age = (SELECT MAX(age) FROM reader)",
            "filters age = (SELECT MAX(age) FROM reader) instead of taking the first row in order",
        ),
        (
            "SELECT T1.name FROM reader T1 JOIN loan T2 ON T1.reader_id = T2.reader_id",
            "SELECT name FROM reader WHERE reader_id IN (SELECT reader_id FROM loan)",
            "reads loan by an inner query instead of a join",
        ),
        (
            "SELECT name FROM reader EXCEPT SELECT title FROM book",
            "SELECT name FROM reader WHERE name NOT IN (SELECT title FROM book)",
            "filters by NOT IN instead of EXCEPT",
        ),
    ],
)
def test_same_meaning_in_another_form_is_a_subquery_only_if_nothing_else_differs(gold, answer, text):
    assert texts(gold, answer) == [text]
    assert diagnose(gold, answer, CONTEXT).error_class == "sub-query"
    other = diagnose(gold, answer.replace("SELECT name", "SELECT age, name", 1), CONTEXT)
    assert other.error_class != "sub-query"


def test_join_with_the_key_of_a_table_that_is_not_used_comes_last():
    gold = "SELECT days FROM loan ORDER BY days LIMIT 3"
    answer = "SELECT days FROM loan JOIN book ON loan.book_id = book.book_id ORDER BY days LIMIT 1"
    assert texts(gold, answer) == ["takes 1 row instead of 3 rows", "also joins book"]


def test_column_equal_by_a_join_is_no_other_column():
    gold = "SELECT T1.reader_id FROM reader T1 JOIN loan T2 ON T1.reader_id = T2.reader_id WHERE T2.days > 1"
    answer = (
        "SELECT T2.reader_id FROM reader T1 JOIN loan T2 ON T1.reader_id = T2.reader_id WHERE T2.days > 2"
    )
    assert diagnose(gold, answer, CONTEXT).error_class == "value"


def test_column_that_a_wrong_join_equates_is_not_taken_for_another():
    gold = "SELECT name, age FROM reader JOIN loan ON reader.reader_id = loan.reader_id"
    joins = "reader.name = loan.reader_id AND reader.age = loan.reader_id"
    answer = f"SELECT age, name FROM reader JOIN loan ON {joins}"
    assert not [text for text in texts(gold, answer) if text.startswith("returns")]


def test_dialect_of_dusql_is_read():
    context = "CREATE TABLE 书店 (词条id NUMBER, 名称 VARCHAR, 成立时间 TIME, 面积(平米) NUMBER)"
    gold = "select 名称 from 书店 where TIME_NOW - 成立时间 > 30 order by 面积(平米) desc limit3"
    answer = "select 名称 from 书店 where TIME_NOW - 成立时间 > 20 order by 面积(平米) desc limit 3"
    diagnosis = diagnose(gold, answer, context)
    assert [d.text for d in diagnosis.differences] == [
        "filters 2020 - 成立时间 > 20 instead of 2020 - 成立时间 > 30"
    ]
    assert diagnosis.error_class == "value"


def test_without_a_schema_names_are_compared_as_they_are():
    diagnosis = diagnose("SELECT t.a FROM t WHERE b = 'x'", "SELECT a FROM t WHERE c = 'x'")
    assert [d.text for d in diagnosis.differences] == ["filters c = 'x' instead of b = 'x'"]


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ("SELEKT name FROM reader", "can't be parsed"),
        ("", "can't be parsed"),
        ("VALUES (1)", "is not a SELECT"),
        ("SELECT " + "(" * 200 + "1" + ")" * 200, "has too deep parentheses"),
        ("SELECT * FROM " + " JOIN ".join(["reader"] * 60), "has too many joins without a condition"),
        (f"SELECT '{'x' * MAX_LENGTH}'", "is longer than 4,000 characters"),
    ],
)
def test_answer_that_cannot_be_compared_is_other_with_the_reason(answer, text):
    diagnosis = diagnose("SELECT name FROM reader", answer, CONTEXT)
    assert (diagnosis.error_class, diagnosis.differences[0].text) == ("other", text)


@pytest.mark.parametrize(
    "answer",
    [
        "SELECT " + "NOT " * 900 + "1",
        " UNION ".join(["SELECT name FROM reader"] * 150),
        "SELECT name FROM reader WHERE " + " AND ".join(["age > 1"] * 300),
        "SELECT name FROM reader WHERE " + " OR ".join(f"age > {i}" for i in range(200)),
        "SELECT " + "CASE WHEN 1 THEN " * 90 + "1" + " END" * 90,
        "SELECT '{}', \"{0}\" FROM reader LIMIT (SELECT 1)",
        "SELECT count(), count(DISTINCT name, age) FROM reader",
        "WITH RECURSIVE x AS (SELECT 1 UNION ALL SELECT * FROM x) SELECT * FROM x",
        "WITH reader AS (SELECT * FROM reader) SELECT * FROM reader",
        "SELECT name FROM reader WHERE (name, age) IN (SELECT name, age FROM reader)",
        "SELECT a.name FROM reader a, reader b WHERE a.city = b.city AND a.name != b.name",
        "SELECT name FROM reader NATURAL JOIN loan JOIN book USING (book_id)",
        "SELECT EXISTS (SELECT 1), row_number() OVER (ORDER BY age) FROM reader",
        "SELECT x.* FROM json_each('[1]') AS x",
    ],
)
def test_any_answer_gets_a_class(answer):
    assert diagnose("SELECT name FROM reader WHERE age > 1", answer, CONTEXT).error_class in ERROR_CLASSES
    assert diagnose(answer, "SELECT name FROM reader WHERE age > 1", CONTEXT).error_class in ERROR_CLASSES
