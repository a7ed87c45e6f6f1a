"""Execution match by the official semantics: calibrated on real predictions, on databases made from the context, and against hostile SQL."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from sqltune.evaluation.execution_match import match_pairs
from sqltune.evaluation.judge import Judge, Pair
from sqltune.evaluation.result_rows import same_rows
from tests.conftest import shared_data
from tests.sqltune.evaluation.hostile_sql import HOSTILE

T = "CREATE TABLE t (id INTEGER, name VARCHAR, age INTEGER)"


def predictions(file: Path) -> list[str]:
    """A line each; or ChatGPT's list, whose results lack the leading SELECT."""
    if file.suffix == ".txt":
        return file.read_text().splitlines()
    return [
        r["result"] if r["result"].lower().lstrip().startswith("select") else f"SELECT {r['result']}"
        for r in json.loads(file.read_text())
    ]


@pytest.mark.parametrize(
    ("file", "share", "strict"),
    [("chatgpt-2303-spider.json", 69.9, None), ("codes-1b-spider-dev.txt", 78.7, 75.1)],
)
def test_calibrated_on_spider(file, share, strict):
    data = shared_data("spider_dev")
    questions = json.loads((data / "dev.json").read_text())
    found = match_pairs(
        [
            Pair(q["query"], p, database=str(data / "sqlite" / f"{q['db_id']}.sqlite"))
            for q, p in zip(questions, predictions(data / "predictions" / file), strict=True)
        ]
    )
    assert 100 * sum(m.matched for m in found) / len(found) == pytest.approx(share, abs=0.3)
    assert strict is None or 100 * sum(m.strict for m in found) / len(found) == pytest.approx(strict, abs=0.3)
    assert not any(m.outcome == "gold_invalid" for m in found)


@pytest.mark.parametrize(
    ("gold", "predicted", "ordered", "same"),
    [
        ([(1, "a"), (2, "b")], [("b", 2), ("a", 1)], False, True),
        ([(1, 2), (2, 1)], [(1, 1), (2, 2)], False, False),
        ([(1,), (1,)], [(1,)], False, False),
        ([(1, "a"), (2, "b")], [("b", 2), ("a", 1)], True, False),
        ([(1, "a"), (2, "b")], [("a", 1), ("b", 2)], True, True),
        ([], [], False, True),
        ([(0.1 + 0.2,)], [(0.3,)], False, True),
        ([(1, 1, 2)], [(1, 2, 1)], False, True),
        ([(1, 1)], [(1, 2)], False, False),
    ],
)
def test_same_rows(gold, predicted, ordered, same):
    assert same_rows(gold, predicted, ordered=ordered) is same


@pytest.mark.parametrize(
    ("gold", "predicted", "matched"),
    [
        ("SELECT name FROM t WHERE age > 56", "SELECT name FROM t WHERE age >= 56", False),
        ("SELECT name FROM t WHERE age > 56", "SELECT x.name FROM t AS x WHERE 56 < age", True),
        ("SELECT min(age) FROM t", "SELECT max(age) FROM t", False),
        ("SELECT name FROM t ORDER BY age DESC LIMIT 1", "SELECT name FROM t ORDER BY age LIMIT 1", False),
        ("SELECT count(*) FROM t WHERE name = 'a'", "SELECT count(*) FROM t WHERE name = 'b'", False),
        # The gold's order leaves the row open on every copy: that is no reason to let anything pass.
        ("SELECT name FROM t ORDER BY 1 + 1 LIMIT 1", "SELECT 'none of them'", False),
        ("SELECT name FROM t ORDER BY 1 + 1 LIMIT 1", "SELECT name FROM t ORDER BY 1 + 1 LIMIT 1", True),
    ],
)
def test_on_databases_made_from_the_context(gold, predicted, matched):
    assert Judge().judge(Pair(gold, predicted, context=T)).matched is matched


def test_what_a_set_takes_away_another_row_may_have_too():
    """Countries without a cartoon by A, and countries of channels without one: the same, unless two channels are of one country."""
    context = "CREATE TABLE channel (id INTEGER PRIMARY KEY, name VARCHAR, country VARCHAR); CREATE TABLE cartoon (id INTEGER PRIMARY KEY, author VARCHAR, channel INTEGER REFERENCES channel (id))"
    gold = "SELECT country FROM channel EXCEPT SELECT T1.country FROM channel AS T1 JOIN cartoon AS T2 ON T1.id = T2.channel WHERE T2.author = 'A'"
    assert (
        not Judge()
        .judge(
            Pair(
                gold,
                "SELECT country FROM channel WHERE id NOT IN (SELECT channel FROM cartoon WHERE author = 'A')",
                context,
            )
        )
        .matched
    )
    assert (
        Judge()
        .judge(
            Pair(
                gold,
                "SELECT country FROM channel WHERE country NOT IN (SELECT a.country FROM channel a JOIN cartoon b ON a.id = b.channel WHERE b.author = 'A')",
                context,
            )
        )
        .matched
    )


def test_a_hundred_hostile_statements_end_in_a_clear_class_and_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    database = tmp_path / "read" / "t.sqlite"
    database.parent.mkdir()
    with closing(sqlite3.connect(database)) as made, made:
        made.execute(T)
        made.executemany("INSERT INTO t VALUES (?, ?, ?)", [(i, f"n{i}", i % 60) for i in range(60)])
    before = database.read_bytes()
    fine = "SELECT name FROM t"
    assert len(HOSTILE) >= 100 and len({statement for statement, _ in HOSTILE}) == len(HOSTILE)
    # On a database all of them, on made ones some: each that is slow takes its two seconds.
    for where, hostile in (({"database": str(database)}, HOSTILE), ({"context": T}, HOSTILE[::7])):
        found = match_pairs(
            [Pair(fine, query, **where) for statement, _ in hostile for query in (statement, fine)],
            processes=2,
        )
        wrong = [
            (statement[:80], m.outcome, m.failure_class, m.reason[:80])
            for (statement, classes), m in zip(hostile, found[::2], strict=True)
            if m.outcome != "invalid" or m.failure_class not in classes or not m.reason
        ]
        assert not wrong, wrong
        assert all(m.matched for m in found[1::2]), "the scorer did not live on"
    assert database.read_bytes() == before and [p.name for p in tmp_path.rglob("*")] == ["read", "t.sqlite"]


LARGE = [
    "1e999",
    "-1e999",
    "9" * 20,
    "9223372036854775808",
    "-9223372036854775809",
    "1e300",
    "9" * 400,
    "0x7fffffffffffffff",
    f"'{'9' * 400}'",
    "'1e999'",
    "'nan'",
    "1e18",
]


@pytest.mark.parametrize("literal", LARGE)
def test_rows_are_made_whatever_a_prediction_compares_with(literal):
    """A prediction with a number beyond SQLite's integers ended the scorer, and with it the night's run."""
    context = "CREATE TABLE t (a INTEGER, b TEXT, c DATE)"
    for column in "abc":
        for gold, predicted in (
            ("SELECT a FROM t WHERE b = 'x'", f"SELECT a FROM t WHERE {column} = {literal}"),
            (f"SELECT a FROM t WHERE {column} <> {literal}", f"SELECT a FROM t WHERE {column} <> {literal}"),
        ):
            found = Judge().judge(Pair(gold, predicted, context=context))
            assert found.outcome == ("match" if gold == predicted else "mismatch"), found


def test_long_numbers_are_found_to_the_last_digit():
    """As those of Chinese identity cards."""
    context, gold = (
        "CREATE TABLE t (a INTEGER, number INTEGER, text_number TEXT)",
        "SELECT a FROM t WHERE {} = {}110101199003071233{}",
    )
    for column, quote in (("number", ""), ("text_number", "'")):
        right = gold.format(column, quote, quote)
        found = Judge().judge(Pair(right, right, context=context))
        assert found.matched and not found.vacuous, column
        assert not Judge().judge(Pair(right, right.replace("1233", "1234"), context=context)).matched


def test_what_nobody_thought_of_costs_one_question(monkeypatch):
    monkeypatch.setattr("sqltune.evaluation.judge.build", lambda *_: 1 / 0)
    found = Judge().judge(Pair("SELECT name FROM t", "SELECT name FROM t", context=T))
    assert (found.outcome, found.failure_class) == (
        "invalid",
        "other",
    ) and "ZeroDivisionError" in found.reason


def test_a_process_that_dies_is_one_predictions_fault(monkeypatch):
    monkeypatch.setattr("sqltune.evaluation.execution_match.GRACE", -1e6)
    pair = Pair("SELECT name FROM t", "SELECT name FROM t", context=T)
    # Every pair is out of time before it is heard: each is told, none hangs.
    assert [m.failure_class for m in match_pairs([pair, pair], processes=1)] == ["timeout", "timeout"]
    children = ["ps", "--ppid", str(os.getpid()), "-o", "args"]
    assert "evaluation.worker" not in subprocess.run(children, capture_output=True, text=True).stdout
