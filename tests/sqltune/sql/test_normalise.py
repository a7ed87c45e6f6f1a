"""DuSQL's dialect: one example a rule, and rules that come to an end."""

from __future__ import annotations

import pytest

from sqltune.sql.normalise import normalise


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
            "named_aggregates",
            "select a.n / b.n from ( select n from t where c == 1 ) a , ( select sum ( n ) from t ) b",
            "select a.n / b.n from ( select n from t where c == 1 ) a , ( select sum ( n ) as n from t ) b",
        ),
    ],
)
def test_rule(rule, written, made):
    found = normalise(written)
    assert (found.sql, found.rules) == (made, (rule,))


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "written",
    [
        # Wrapped in a SELECT of its own, an operand begins with a parenthesis again: it was wrapped for ever.
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
    found = normalise(written, "CREATE TABLE t (a INTEGER)")
    assert found.rules == ("set_operands",) and not found.problem


def test_what_runs_is_left_alone():
    assert normalise("select 'limit3' from t", "CREATE TABLE t (a INTEGER)").rules == ()
