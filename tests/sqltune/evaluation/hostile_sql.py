"""A hundred hostile statements, and the failure classes that each may end in.

The database is `CREATE TABLE t (id, name, age)`.
"""

from __future__ import annotations

SLOW = {"timeout", "too_large"}
NOT_SELECT = {"not_a_select"}
DENIED = {"forbidden", "other", "syntax", "unknown_table"}
BROKEN = {"syntax"}
_MILLION = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000000)"

HOSTILE: list[tuple[str, set[str]]] = [
    # Recursive bombs
    ("WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT count(*) FROM c", SLOW),
    ("WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT x FROM c", SLOW),
    ("WITH RECURSIVE c(x) AS (SELECT 1 UNION SELECT x + 1 FROM c) SELECT sum(x) FROM c", SLOW),
    ("WITH RECURSIVE c(x) AS (SELECT 'a' UNION ALL SELECT x || x FROM c) SELECT length(x) FROM c", SLOW),
    (
        "WITH RECURSIVE a(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM a), "
        "b(y) AS (SELECT 1 UNION ALL SELECT y + 1 FROM b) SELECT count(*) FROM a, b",
        SLOW,
    ),
    ("SELECT (WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT max(x) FROM c)", SLOW),
    (
        "SELECT name FROM t WHERE age IN "
        "(WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT x FROM c)",
        SLOW,
    ),
    ("WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT group_concat(x) FROM c", SLOW),
    ("WITH RECURSIVE c(x) AS (VALUES (1) UNION ALL SELECT x FROM c) SELECT * FROM c LIMIT -1", SLOW),
    (
        "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) "
        "SELECT x FROM c ORDER BY x DESC LIMIT 1",
        SLOW,
    ),
    (f"{_MILLION} SELECT count(*) FROM n a, n b", SLOW),
    (f"{_MILLION} SELECT sum(a.i * b.i) FROM n a JOIN n b ON a.i <> b.i", SLOW),
    (f"{_MILLION} SELECT i, printf('%1000s', i) FROM n", SLOW),
    (f"{_MILLION} SELECT i FROM n", SLOW),
    (f"{_MILLION} SELECT DISTINCT a.i + b.i FROM n a, n b", SLOW),
    # Cross joins and what grows with them
    ("SELECT * FROM t a, t b, t c, t d, t e, t f", SLOW),
    ("SELECT count(*) FROM t a, t b, t c, t d, t e, t f, t g, t h", SLOW),
    (
        "SELECT max(a.age * b.age) FROM t a CROSS JOIN t b CROSS JOIN t c CROSS JOIN t d "
        "CROSS JOIN t e CROSS JOIN t f CROSS JOIN t g",
        SLOW,
    ),
    ("SELECT group_concat(a.name) FROM t a, t b, t c, t d, t e, t f", SLOW),
    ("SELECT json_group_array(a.name) FROM t a, t b, t c, t d, t e, t f", SLOW),
    ("SELECT count(DISTINCT a.id || b.id || c.id || d.id || e.id) FROM t a, t b, t c, t d, t e", SLOW),
    ("SELECT a.id FROM t a, t b, t c, t d, t e, t f ORDER BY a.name || b.name || f.name", SLOW),
    ("SELECT (SELECT count(*) FROM t b, t c, t d, t e WHERE b.age > a.age) FROM t a, t x, t y", SLOW),
    ("SELECT sum(a.age) OVER (ORDER BY b.id) FROM t a, t b, t c, t d, t e", SLOW),
    ("SELECT * FROM t a LEFT JOIN t b ON 1 LEFT JOIN t c ON 1 LEFT JOIN t d ON 1 LEFT JOIN t e ON 1", SLOW),
    # Values that are too large
    ("SELECT randomblob(1000000000)", {"forbidden"}),
    ("SELECT zeroblob(2000000000)", {"forbidden"}),
    ("SELECT hex(randomblob(500000000))", {"forbidden"}),
    # In an aggregate: some builds of SQLite 3.40 answer printf's overflow with '' and no error.
    ("SELECT sum(length(printf('%.*c', 900000, a.name || b.name))) FROM t a, t b, t c, t d", SLOW),
    ("SELECT replace(printf('%.*c', 900000, 'x'), 'x', 'xxxxxxxxxxxxxxxxxxxx')", SLOW),
    ("SELECT upper(quote(printf('%.*c', 999999, 'x')))", SLOW),
    ("SELECT group_concat(printf('%.*c', 900000, 'x')) FROM t a, t b", SLOW),
    ("SELECT json_array(printf('%.*c', 999999, 'x'), printf('%.*c', 999999, 'x'))", SLOW | {"other"}),
    ("SELECT '" + "x" * 150_000 + "'", SLOW),
    ("x" * 200_000, SLOW),
    ("SELECT 1 " + "-- comment\n" * 20_000, SLOW),
    ("SELECT " + ", ".join(["1"] * 3000), SLOW),
    ("SELECT " + " + ".join(["1"] * 20_000), SLOW),
    # Deep nesting
    ("SELECT " + "(" * 5000 + "1" + ")" * 5000, SLOW | BROKEN),
    ("SELECT " + "(SELECT " * 500 + "1" + ")" * 500, SLOW | BROKEN),
    ("SELECT " + "NOT " * 5000 + "1", SLOW | BROKEN),
    ("SELECT " + "-" + " -" * 4000 + "1", SLOW | BROKEN),
    ("SELECT * FROM (" * 300 + "SELECT 1" + ")" * 300, SLOW | BROKEN),
    ("SELECT 1" + " UNION ALL SELECT 1" * 2000, SLOW | BROKEN),
    ("SELECT abs(" * 1500 + "1" + ")" * 1500, SLOW | BROKEN),
    ("SELECT CASE WHEN " * 400 + "1" + " THEN 1 END" * 400, SLOW | BROKEN),
    ("SELECT name FROM t WHERE " + " OR ".join(f"age = {i}" for i in range(5000)), SLOW),
    ("SELECT * FROM " + ", ".join(f"t t{i}" for i in range(100)), SLOW),
    # Other databases and files
    ("ATTACH DATABASE 'pwned.db' AS x", NOT_SELECT),
    ("ATTACH ':memory:' AS x", NOT_SELECT),
    ("DETACH DATABASE main", NOT_SELECT),
    ("VACUUM INTO 'pwned'", NOT_SELECT),
    ("VACUUM", NOT_SELECT),
    ("SELECT load_extension('pwned')", {"forbidden"}),
    ("SELECT load_extension('/lib/x86_64-linux-gnu/libc.so.6', 'system')", {"forbidden"}),
    ("SELECT writefile('pwned', 'x')", DENIED),
    ("SELECT readfile('/etc/passwd')", DENIED),
    ("SELECT * FROM fsdir('/')", DENIED),
    ("SELECT edit('x', 'touch pwned')", DENIED),
    ("SELECT lsmode(1), readfile('/etc/shadow')", DENIED),
    ("SELECT fts3_tokenizer('simple', x'00')", DENIED),
    ("SELECT * FROM sqlite_dbpage", DENIED),
    ("SELECT * FROM dbstat", DENIED),
    ("SELECT * FROM csv('pwned.csv')", DENIED),
    ("SELECT * FROM pragma_database_list", DENIED),
    ("SELECT * FROM pragma_table_info('t')", DENIED),
    ("SELECT sqlite_compileoption_get(1)", DENIED),
    ("SELECT * FROM zipfile('pwned.zip')", DENIED),
    # Settings, and everything that writes
    ("PRAGMA writable_schema = 1", NOT_SELECT),
    ("PRAGMA journal_mode = WAL", NOT_SELECT),
    ("PRAGMA temp_store_directory = '/tmp'", NOT_SELECT),
    ("PRAGMA query_only = 0", NOT_SELECT),
    ("CREATE TABLE pwned (x)", NOT_SELECT),
    ("CREATE TEMP TABLE pwned AS SELECT 1", NOT_SELECT),
    ("CREATE VIRTUAL TABLE pwned USING fts5(x)", NOT_SELECT),
    ("CREATE TRIGGER x AFTER INSERT ON t BEGIN SELECT 1; END", NOT_SELECT),
    ("CREATE VIEW pwned AS SELECT 1", NOT_SELECT),
    ("CREATE INDEX pwned ON t(id)", NOT_SELECT),
    ("DROP TABLE t", NOT_SELECT),
    ("ALTER TABLE t ADD COLUMN pwned", NOT_SELECT),
    ("INSERT INTO t VALUES (1, 'a', 2)", NOT_SELECT),
    ("REPLACE INTO t VALUES (1, 'a', 2)", NOT_SELECT),
    ("UPDATE t SET age = 0", NOT_SELECT),
    ("DELETE FROM t", NOT_SELECT),
    ("DELETE FROM t RETURNING *", NOT_SELECT),
    ("INSERT INTO t VALUES (1, 'a', 2) RETURNING *", NOT_SELECT),
    ("WITH x AS (SELECT 1) DELETE FROM t", NOT_SELECT),
    ("WITH x(y) AS (SELECT 1) INSERT INTO t SELECT y, y, y FROM x", NOT_SELECT),
    ("REINDEX t", NOT_SELECT),
    ("ANALYZE", NOT_SELECT),
    ("BEGIN", NOT_SELECT),
    ("COMMIT", NOT_SELECT),
    ("SAVEPOINT x", NOT_SELECT),
    ("EXPLAIN SELECT 1", NOT_SELECT),
    ("EXPLAIN QUERY PLAN SELECT 1", NOT_SELECT),
    # A second statement
    ("SELECT 1; DROP TABLE t", {"several_statements"}),
    ("SELECT 1 /* */; -- x\n DROP TABLE t", {"several_statements"}),
    ("SELECT 1;;DROP TABLE t", {"several_statements"}),
    ("SELECT 1; /* ; */ DELETE FROM t; --", {"several_statements"}),
    ("/* SELECT */ DROP TABLE t -- SELECT", NOT_SELECT),
    ("--\nDROP TABLE t", NOT_SELECT),
    ("SELECT ';'; ATTACH 'pwned' AS x", {"several_statements"}),
    # No SQL at all
    ("", BROKEN),
    (";", NOT_SELECT | BROKEN),
    ("-- nothing", BROKEN),
    ("no sql at all", NOT_SELECT | BROKEN),
    ("SELECT", BROKEN),
    ("SELECT\x00 1", BROKEN),
    ("SELECT '\ud800'", BROKEN),
    ("SELECT 'unclosed", BROKEN),
    ("SELECT name FROM t WHERE age > ", BROKEN),
    ("SELECT * FROM nowhere", {"unknown_table"}),
    ("SELECT weight FROM t", {"unknown_column"}),
    ("SELECT name FROM t WHERE", BROKEN),
    ("' OR 1=1 --", BROKEN | NOT_SELECT),
]
