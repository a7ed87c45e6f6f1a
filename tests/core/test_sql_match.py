"""Execution match: what says the same matches, what does not does not, and hostile SQL ends within its limits."""

from __future__ import annotations

import time

import pytest

from sqltune.sql_match import Match, compare, match, same_rows

HEAD = "CREATE TABLE head (age INTEGER, name VARCHAR, born_state VARCHAR)"
GOLD = "SELECT name FROM head WHERE age > 56"


@pytest.mark.parametrize("same", ["select name from head where age > 56", "SELECT h.name FROM head AS h WHERE 56 < h.age", "SELECT name FROM head WHERE NOT age <= 56"])
def test_other_words_same_rows(same):
    assert compare(HEAD, GOLD, same) == Match("match")


@pytest.mark.parametrize("other", ["SELECT name FROM head WHERE age >= 56", "SELECT name FROM head", "SELECT age FROM head WHERE age > 56", "SELECT COUNT(*) FROM head WHERE age > 56",
                                   "SELECT name FROM head WHERE age > 56 LIMIT 1", "SELECT name FROM head WHERE age > 57"])
def test_other_rows(other):
    assert compare(HEAD, GOLD, other).verdict == "mismatch"


def test_order_counts_only_where_the_gold_orders():
    assert compare(HEAD, "SELECT name FROM head", "SELECT name FROM head ORDER BY name").matched
    assert not compare(HEAD, "SELECT age FROM head ORDER BY age", "SELECT age FROM head ORDER BY age DESC").matched
    assert same_rows([(1,), (2,)], [(2,), (1,)], ordered=False) and not same_rows([(1,), (1,)], [(1,)], ordered=False)


def test_chinese_names_and_values():
    context = "CREATE TABLE 明星 (姓名 VARCHAR, 年龄 NUMBER)"
    assert compare(context, "SELECT 姓名 FROM 明星 WHERE 姓名 = '王伟'", "select 姓名 from 明星 where '王伟' = 姓名").matched


def test_two_empty_results_are_counted_apart():
    assert compare(HEAD, "SELECT name FROM head WHERE 1 = 0", "SELECT name FROM head WHERE 0").vacuous


@pytest.mark.parametrize("hostile", [
    "ATTACH DATABASE '/tmp/x.db' AS x", "PRAGMA writable_schema = 1", "DROP TABLE head", "DELETE FROM head", "INSERT INTO head VALUES (1, 'a', 'b')",
    "SELECT 1; DROP TABLE head", "SELECT load_extension('x')", "SELECT randomblob(1000000000)", "", "no sql at all", "SELECT name FROM nowhere", "SELECT nothing FROM head",
    "CREATE TABLE x (y INTEGER)", "SELECT name FROM head WHERE age > ", "SELECT zeroblob(2000000000)",
])
def test_hostile_or_broken_is_invalid(hostile):
    found = compare(HEAD, GOLD, hostile)
    assert found.verdict == "invalid" and found.reason


def test_a_runaway_query_is_ended():
    began = time.monotonic()
    (bomb,) = match([(HEAD, GOLD, "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT COUNT(*) FROM c")])
    assert bomb.verdict == "invalid" and "longer" in bomb.reason and time.monotonic() - began < 20


def test_huge_output_is_ended():
    joins = ", ".join(f"head h{i}" for i in range(6))
    assert compare(HEAD, GOLD, f"SELECT * FROM {joins}").verdict == "invalid"


def test_a_gold_that_does_not_run_is_not_the_models_fault():
    assert compare(HEAD, "SELECT oops FROM head", GOLD).verdict == "gold_invalid"
    assert compare("no tables", GOLD, GOLD).verdict == "gold_invalid"


def test_verdicts_come_in_order_from_a_process_of_their_own():
    verdicts = match([(HEAD, GOLD, GOLD), (HEAD, GOLD, "SELECT 1"), (HEAD, GOLD, "x")])
    assert [v.verdict for v in verdicts] == ["match", "mismatch", "invalid"]
    assert match([]) == []
