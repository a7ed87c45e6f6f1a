"""DuSQL's dialect: one example a rule, and rules that come to an end."""

from __future__ import annotations

import re
import sqlite3

import pytest

from sqltune.dataset.rows import read_rows
from sqltune.evaluation.execution_match import match_pairs
from sqltune.evaluation.judge import Pair
from sqltune.sql.normalise import Normalised, normalise
from tests.conftest import shared_data


@pytest.mark.parametrize(
    ("rule", "written", "made"),
    [
        ("split_limit", "select a from t order by a limit3", "select a from t order by a limit 3"),
        (
            "quote_names",
            "select 国家id from 2008北京奥运会奖牌榜",
            'select 国家id from "2008北京奥运会奖牌榜"',
        ),
        (
            "time_now",
            "select 名称 from 公司 where TIME_NOW - 成立时间 > 3",
            "select 名称 from 公司 where 2020 - 成立时间 > 3",
        ),
        (
            "tables_by_alias",
            "select T2.a from x as T1 join y as T2 on x.i == y.i",
            "select T2.a from x as T1 join y as T2 on T1.i == T2.i",
        ),
        (
            "alias_as_table",
            "select T1.a from x as T1 where T1.a > ( select avg ( T1.a ) from T1 )",
            "select T1.a from x as T1 where T1.a > ( select avg ( T1.a ) from x as T1 )",
        ),
        (
            "quote_times",
            "select 名称 from 列车 where 出发时间 < 13:30:00 and 到达时间 >= 17:30",
            "select 名称 from 列车 where 出发时间 < '13:30:00' and 到达时间 >= '17:30'",
        ),
        (
            "quote_times",
            "select 名称 from 商场 where 开业时间 < 10:00:00~21:00:00 and 人数 >= 1~10",
            "select 名称 from 商场 where 开业时间 < '10:00:00~21:00:00' and 人数 >= '1~10'",
        ),
        (
            "named_aggregates",
            "select a.n / b.n from ( select n from t where c == 1 ) a , ( select sum ( n ) from t ) b",
            "select a.n / b.n from ( select n from t where c == 1 ) a , ( select sum ( n ) as n from t ) b",
        ),
    ],
)
def test_rule(rule, written, made):
    result = normalise(written)
    assert (result.sql, result.rules) == (made, (rule,))


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "written",
    [
        # Wrapped in a SELECT of its own, an operand begins with a parenthesis: it was wrapped endlessly.
        "( select a from t order by a limit 1 ) union ( select a from t )",
        "( select a from t ) except ( select a from t order by a limit 1 )",
        "( ( select a from t ) union ( select a from t ) ) except ( select a from t )",
        "( ( ( select a from t",
        "( select a from t ) union",
        "(" * 200,
        "select a from t where a in ( ( select a from t limit 1 ) )",
    ],
)
def test_set_operands_come_to_an_end(written):
    assert normalise(written).sql


@pytest.mark.parametrize(
    "written",
    [
        "( select a from t order by a limit 1 ) union ( select a from t )",
        "( select a from t ) except ( select a from t where a > 1 )",
    ],
)
def test_set_operands_run(written):
    result = normalise(written, "CREATE TABLE t (a INTEGER)")
    assert result.rules == ("set_operands",)
    assert not result.problem


def test_columns_without_commas_are_separated():
    result = normalise(
        "select 姓名 出生地 职业 from 演员", "CREATE TABLE 演员 (姓名 TEXT, 出生地 TEXT, 职业 TEXT)"
    )
    assert result == Normalised("select 姓名 , 出生地 , 职业 from 演员", ("separate_columns",))


@pytest.mark.parametrize(
    ("answer", "expected", "rule"),
    [
        (
            "select T1.最低票价 from 2018年演唱会 as T1 where T1.最低票价 < ( select avg ( T1.最低票价 ) "
            "from T1 )",
            'select T1.最低票价 from "2018年演唱会" as T1 where T1.最低票价 < ( select avg ( T1.最低票价 '
            ') from "2018年演唱会" as T1 )',
            "alias_as_table",
        ),
        (
            "select a.100米 / b.100米 from ( select 100米 from 2018年演唱会 ) a , ( select sum ( 100米 ) "
            "from 2018年演唱会 ) b",
            'select a."100米" / b."100米" from ( select "100米" from "2018年演唱会" ) a , ( select sum ( '
            '"100米" ) as "100米" from "2018年演唱会" ) b',
            "named_aggregates",
        ),
    ],
)
def test_names_stay_quoted_through_other_rules(answer, expected, rule):
    result = normalise(answer, "CREATE TABLE 2018年演唱会 (最低票价 NUMBER, 100米 NUMBER)")
    assert result == Normalised(expected, ("quote_names", rule))


def test_a_context_that_cannot_be_read_is_a_problem():
    """Such queries counted as running: nothing had tried them."""
    assert normalise("select a from t", "CREATE TABLE t (a").problem.startswith("the context can't be read: ")


def databases_as_published(context: str) -> sqlite3.Connection:
    """The tables of a DuSQL context with the very names it has, read by nothing but its commas."""
    connection = sqlite3.connect(":memory:")
    for statement in context.split("; "):
        table, body = re.fullmatch(r"CREATE TABLE (\S+) \((.*)\)", statement).groups()
        names = dict.fromkeys(definition.rpartition(" ")[0] for definition in body.split(", "))
        columns = ", ".join(f'"{name}" TEXT' for name in names)
        connection.execute(f'CREATE TABLE "{table}" ({columns})')
    return connection


def test_training_golds_run_on_databases_with_the_published_names():
    connections: dict[str, sqlite3.Connection] = {}
    rows = list(read_rows([shared_data("hub_dataset") / "train.jsonl"]))
    wrong = []
    for row in rows:
        if row["context"] not in connections:
            connections[row["context"]] = databases_as_published(row["context"])
        result = normalise(row["answer"], row["context"])
        try:
            connections[row["context"]].execute(f"EXPLAIN {result.sql}").close()
        except sqlite3.Error as e:
            wrong.append((str(e), result))
    assert len(wrong) <= 0.005 * len(rows)
    assert all(result.problem for _, result in wrong), "a query that does not run is reported as running"


def test_held_back_golds_run_on_the_real_databases_and_give_the_published_rows():
    data = shared_data("dusql_dev")
    rows = list(read_rows([data / "dev.jsonl"]))
    golds = [normalise(row["answer"], row["context"]).sql for row in rows]
    files = [str(data / "sqlite" / f"{row['db_id']}.sqlite") for row in rows]
    running = [
        m
        for m in match_pairs([Pair(g, g, database=f) for g, f in zip(golds, files, strict=True)])
        if m.matched
    ]
    assert len(running) >= 0.995 * len(rows)
    pairs = [
        Pair(row["answer_sqlite"], gold, database=file)
        for row, gold, file in zip(rows, golds, files, strict=True)
        if row["answer_sqlite"]
    ]
    assert [m for m in match_pairs(pairs) if not m.strict] == []


def test_what_runs_is_left_alone():
    assert normalise("select 'limit3' from t", "CREATE TABLE t (a INTEGER)").rules == ()
