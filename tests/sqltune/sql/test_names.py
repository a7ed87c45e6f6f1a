"""Names that SQL reads as something else: which need quotes, and finding them in queries and contexts."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from sqltune.sql.create_table import quote_context
from sqltune.sql.names import RESERVED, needs_quotes, quote_known_names, quoted
from sqltune.sql.normalise import normalise
from sqltune.sql.schema import parse_context
from sqltune.sql.tokens import join, tokens, words

AWKWARD = [
    "总GDP(亿)",
    "总GDP（亿）",
    "累计装机量(MW)",
    "周边路网平均速度(千米/时)",
    "GDP(total)",
    "(亿)产值",
    "占比%",
    "增长率（%）",
    "千米/时",
    "高校-数量",
    "birth date",
    "总 GDP (亿)",
    "100米",
    "25~30岁会员数量",
    "2.5元店数量",
    "5A级景点数量",
    "order",
    "group",
    "from",
    "limit",
    "primary",
    "current_date",
]
"""Names that a query must quote."""

PLAIN = ["词条id", "name", "GDP总计", "_x", "key", "date", "类型"]
"""Names that need no quotes."""


KEYWORDS = sorted(
    words(
        """
    abort action add after all alter always analyze and as asc attach autoincrement before begin between by
    cascade case cast check collate column commit conflict constraint create cross current current_date
    current_time current_timestamp database default deferrable deferred delete desc detach distinct do drop
    each else end escape except exclude exclusive exists explain fail filter first following for foreign from
    full generated glob group groups having if ignore immediate in index indexed initially inner insert
    instead intersect into is isnull join key last left like limit match materialized natural no not nothing
    notnull null nulls of offset on or order others outer over partition plan pragma preceding primary query
    raise range recursive references regexp reindex release rename replace restrict returning right rollback
    row rows savepoint select set table temp temporary then ties to transaction trigger unbounded union unique
    update using vacuum values view virtual when where window with without
    """
    )
)
"""SQLite's keywords."""


def context_of(name: str) -> str:
    return f"CREATE TABLE 城市 (词条id NUMBER, {name} NUMBER, 名称 VARCHAR); CREATE TABLE 省份 (名称 VARCHAR)"


@pytest.fixture(params=AWKWARD)
def name(request):
    return request.param


@pytest.fixture
def real(name):
    """A database whose column has the name exactly as it is published."""
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute(f"CREATE TABLE 城市 (词条id REAL, {quoted(name)} REAL, 名称 TEXT)")
        connection.execute("CREATE TABLE 省份 (名称 TEXT)")
        connection.executemany("INSERT INTO 城市 VALUES (?, ?, ?)", [(1, 7, "a"), (2, 3, "b"), (3, 3, "c")])
        yield connection


def test_an_awkward_name_needs_quotes(name):
    assert needs_quotes(name)


@pytest.mark.parametrize("plain", PLAIN)
def test_a_plain_name_needs_no_quotes(plain):
    assert not needs_quotes(plain)


@pytest.mark.parametrize("every", [False, True])
def test_the_context_is_read_with_the_published_name(name, every):
    tables, _ = parse_context(quote_context(context_of(name), every=every))
    assert [[c.name for c in t.columns] for t in tables] == [["词条id", name, "名称"], ["名称"]]
    assert [c.kind for c in tables[0].columns] == ["number", "number", "text"]


def test_the_context_keeps_plain_names_as_they_are(name):
    assert quote_context(context_of(name)) == context_of(name).replace(
        f" {name} NUMBER", f" {quoted(name)} NUMBER"
    )


def test_a_quoted_context_is_left_as_it_is(name):
    once = quote_context(context_of(name))
    assert quote_context(once) == once


@pytest.mark.parametrize(
    ("query", "rows"),
    [
        ("select {} from 城市", [(7,), (3,), (3,)]),
        ("select 名称 from 城市 where {} > 5", [("a",)]),
        ("select T1.{} from 城市 as T1 where T1.{} == 7", [(7,)]),
        ("select max ( {} ) , min({}) from 城市", [(7, 3)]),
        ("select {} , count ( * ) from 城市 group by {} order by {} desc limit 1", [(7, 1)]),
        ("select {} + 词条id from 城市 where 名称 == 'a'", [(8,)]),
        ("select 名称 from 城市 where 名称 like '%a%' and {} in ( select {} from 城市 )", [("a",)]),
    ],
)
@pytest.mark.parametrize("known_by", ["context", "connection"])
def test_an_answer_runs_on_the_real_database(real, name, query, rows, known_by):
    answer = query.format(*[name] * query.count("{}"))
    result = (
        normalise(answer, context_of(name)) if known_by == "context" else normalise(answer, connection=real)
    )
    assert result.problem == ""
    assert real.execute(result.sql).fetchall() == rows


@pytest.mark.parametrize(
    "query",
    [
        "select 'order 总GDP(亿) 100米' from t",
        'select "order" from t -- 总GDP(亿) order',
        "select count(*) from t group by a order by b desc limit 3",
        "select a from t union all select a from t order by a",
        "select a from t where not a is null and a not in ( select b from t )",
    ],
)
def test_text_comments_and_keywords_are_left_alone(query):
    assert join(quote_known_names(tokens(query), ["总GDP(亿)", "100米", "order", "group", "limit"])) == query


def test_the_longest_name_is_taken():
    result = join(
        quote_known_names(
            tokens("select 总GDP(亿)增长(%) , 总GDP(亿) from t"), ["总GDP(亿)", "总GDP(亿)增长(%)"]
        )
    )
    assert result == 'select "总GDP(亿)增长(%)" , "总GDP(亿)" from t'


def test_part_of_an_unknown_name_is_left_alone():
    assert (
        join(quote_known_names(tokens("select 总GDP(亿)增长 from t"), ["总GDP(亿)"]))
        == "select 总GDP(亿)增长 from t"
    )


@pytest.mark.parametrize(
    ("written", "published"),
    [("总GDP（亿）", "总GDP(亿)"), ("总GDP(亿)", "总GDP（亿）"), ("累计装机量(mw)", "累计装机量(MW)")],
)
def test_width_and_case_of_the_published_name_are_restored(written, published):
    assert (
        join(quote_known_names(tokens(f"select {written} from t"), [published]))
        == f'select "{published}" from t'
    )


def test_without_a_context_parentheses_behind_a_chinese_word_are_part_of_the_name():
    result = normalise("select T1.总GDP(亿) , sum(人均GDP（万）) , max ( a ) from t as T1")
    assert result.sql == 'select T1."总GDP(亿)" , sum("人均GDP（万）") , max ( a ) from t as T1'
    assert result.rules == ("quote_names",)


def misread(word: str) -> bool:
    """Whether this SQLite refuses a column's name without quotes, or takes it for something else."""
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute(f"CREATE TABLE t ({quoted(word)} TEXT)")
        connection.execute("INSERT INTO t VALUES ('value')")
        try:
            rows = connection.execute(f"SELECT {word} FROM t WHERE {word} = 'value'").fetchall()
        except sqlite3.OperationalError:
            return True
    return rows != [("value",)]


@pytest.mark.parametrize("word", KEYWORDS)
def test_every_keyword_that_sqlite_misreads_needs_quotes(word):
    assert needs_quotes(word) or not misread(word)


def test_the_reserved_words_are_keywords_of_sqlite():
    assert set(KEYWORDS) >= RESERVED


@pytest.mark.parametrize(
    ("context", "expected"),
    [
        ("CREATE TABLE t(a INT, 100米 INT)", 'CREATE TABLE t(a INT, "100米" INT)'),
        ("CREATE TABLE 人口(万) (a INT)", 'CREATE TABLE "人口(万)" (a INT)'),
        ("CREATE TABLE 人口(万)(a INT);", 'CREATE TABLE "人口(万)"(a INT);'),
        (
            "CREATE TABLE IF NOT EXISTS 2018年 排名 (a INT)",
            'CREATE TABLE IF NOT EXISTS "2018年 排名" (a INT)',
        ),
        (
            "CREATE TABLE t (order INT, PRIMARY KEY (order))",
            'CREATE TABLE t ("order" INT, PRIMARY KEY ("order"))',
        ),
        (
            "CREATE TABLE t (a(万) INT, b INT, FOREIGN KEY (a(万)) REFERENCES order (100米)); CREATE "
            "TABLE order (100米 INT)",
            'CREATE TABLE t ("a(万)" INT, b INT, FOREIGN KEY ("a(万)") REFERENCES "order" ("100米")); '
            'CREATE TABLE "order" ("100米" INT)',
        ),
        (
            "CREATE TABLE t (a DECIMAL(10, 2), b(万) VARCHAR(20) NOT NULL)",
            'CREATE TABLE t (a DECIMAL(10, 2), "b(万)" VARCHAR(20) NOT NULL)',
        ),
        (
            "CREATE TABLE t (a DOUBLE PRECISION, b UNSIGNED BIG INT)",
            "CREATE TABLE t (a DOUBLE PRECISION, b UNSIGNED BIG INT)",
        ),
        ("CREATE TABLE t (start date DATE, name)", 'CREATE TABLE t ("start date" DATE, name)'),
        (
            "CREATE TABLE t (check VARCHAR, unique NUMBER, UNIQUE (unique))",
            'CREATE TABLE t ("check" VARCHAR, "unique" NUMBER, UNIQUE ("unique"))',
        ),
        ("CREATE TABLE main.t (a INT)", "CREATE TABLE main.t (a INT)"),
        ("INSERT INTO t VALUES (1)", "INSERT INTO t VALUES (1)"),
        ("no sql ((", "no sql (("),
        ("CREATE TABLE", "CREATE TABLE"),
    ],
)
def test_names_of_a_context(context, expected):
    assert quote_context(context) == expected


def test_a_column_that_is_listed_twice_is_read_once():
    tables, _ = parse_context("CREATE TABLE t (a NUMBER, 投用日期 TIME, b NUMBER, 投用日期 TIME)")
    assert [c.name for c in tables[0].columns] == ["a", "投用日期", "b"]


def test_a_table_made_from_a_query_is_refused():
    with pytest.raises(sqlite3.DatabaseError):
        parse_context("CREATE TABLE t AS SELECT (1)")
