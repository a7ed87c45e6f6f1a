"""DuSQL's own SQL to SQLite's: 44 % of its answers do not run as published.

Each rule answers one habit of the data set, and does nothing to a query without it. A query that runs on its context is left as it is.

    python -m sqltune.sql.normalise FILE [--databases DIR]

FILE: rows as JSON lines or one JSON list, with the query under `answer` (or `query`). The rows come out as JSON lines, the original kept, with
`answer_sqlite` (null where none could be made), `rules` and `problem`; counts go to standard error.
"""

from __future__ import annotations

import argparse
import json
import re
import sqlite3
import sys
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path

from sqltune.dataset.rows import read_rows
from sqltune.errors import DatasetError, ScoringError
from sqltune.sql.names import needs_quotes, quote_known_names, quote_unit_names, quoted
from sqltune.sql.schema import names_in, schema
from sqltune.sql.tokens import SET_OPERATIONS, Token, join, meaningful, outside_parentheses, tokens

YEAR = "2020"
"""What TIME_NOW stands for: the year of DuSQL's contents. Fixed, so that an answer does not change with the day it is judged on."""


@dataclass(frozen=True)
class Normalised:
    """A query for SQLite, the rules that changed it, and what is still wrong with it ('' for nothing that is known)."""

    sql: str
    rules: tuple[str, ...] = ()
    problem: str = ""


def _split_limit(found: list[Token]) -> list[Token]:
    """`limit3` → `limit 3`."""
    out: list[Token] = []
    for t in found:
        number = re.fullmatch(r"limit(\d+)", t.key)
        out += [Token("word", t.text[:5]), Token("space", " "), Token("number", number[1])] if number else [t]
    return out


def _quote_names(found: list[Token]) -> list[Token]:
    """`from 2008北京奥运会奖牌榜` → `from "2008北京奥运会奖牌榜"`: a name may not begin with a digit."""
    return [
        Token("name", quoted(t.text))
        if t.kind == "word" and t.text[0].isdigit() and not re.fullmatch(r"0[xX][0-9a-fA-F]+", t.text)
        else t
        for t in quote_unit_names(found)
    ]


_CLOCK = re.compile(r"\d{1,2}(:\d{2}){1,2}(~\d{1,2}(:\d{2}){1,2})?|\d+~\d+")


def _quote_times(found: list[Token]) -> list[Token]:
    """`出发时间 < 13:30:00` → `出发时间 < '13:30:00'`; ranges too: `10:00:00~21:00:00`, `1~10`."""
    out: list[Token] = []
    i = 0
    while i < len(found):
        end = i
        while end < len(found) and (found[end].kind == "number" or found[end].text in (":", "~")):
            end += 1
        text = join(found[i:end])
        if _CLOCK.fullmatch(text):
            out.append(Token("text", f"'{text}'"))
            i = end
        else:
            out.append(found[i])
            i += 1
    return out


def _separate_columns(found: list[Token], names: Collection[str]) -> list[Token]:
    """`select 姓名 出生地 职业 from 演员` → `select 姓名 , 出生地 , 职业 from 演员`.

    Two names in a row are a column and its alias; three or more are columns without their commas.
    """
    columns = {name.lower() for name in names}
    out: list[Token] = []
    i = 0
    while i < len(found):
        end, last = i, i
        while end >= 0 and end < len(found) and found[end].identifier in columns:
            last, end = end, _next(found, end + 1)
        run = meaningful(found[i : last + 1])
        before = _next(found, i - 1, -1)
        if len(run) > 2 and before >= 0 and found[before].key == "select":
            out += tokens(" , ".join(t.text for t in run))
            i = last + 1
        else:
            out.append(found[i])
            i += 1
    return out


def _time_now(found: list[Token]) -> list[Token]:
    """`TIME_NOW - 成立时间` → `2020 - 成立时间`."""
    return [Token("number", YEAR) if t.key == "time_now" else t for t in found]


def _next(found: Sequence[Token], i: int, step: int = 1) -> int:
    """Index of the next token that is no blank, from i on; -1 where there is none."""
    while 0 <= i < len(found):
        if found[i].kind not in ("space", "comment"):
            return i
        i += step
    return -1


def _closing(found: Sequence[Token], i: int) -> int:
    """Index of the parenthesis that closes the one at i; -1 where none does."""
    depth = 0
    for j in range(i, len(found)):
        depth += (found[j].text == "(") - (found[j].text == ")")
        if depth == 0:
            return j
    return -1


def _set_operands(found: list[Token]) -> list[Token]:
    """`( select … ) except ( select … )` → `select … except select …`: SQLite knows no parentheses around an operand."""
    i = 0
    while i < len(found):
        inner = _next(found, i + 1)
        if found[i].text == "(" and inner > 0 and (found[inner].key == "select" or found[inner].text == "("):
            end = _closing(found, i)
            before, after = _next(found, i - 1, -1), _next(found, end + 1) if end > 0 else -1
            first = before < 0 or found[before].key in (*SET_OPERATIONS, "all")
            operand = end > 0 and (
                (before >= 0 and found[before].key in (*SET_OPERATIONS, "all"))
                or (after >= 0 and found[after].key in SET_OPERATIONS)
                or (first and after < 0)
            )
            if operand:
                body = found[i + 1 : end]
                whole = not any(
                    t.key in (*SET_OPERATIONS, "order", "limit") for t in outside_parentheses(body)
                )
                found = [
                    *found[:i],
                    *(
                        body
                        if whole or (before < 0 and after < 0)
                        else [*tokens("select * from ("), *body, Token("sign", ")")]
                    ),
                    *found[end + 1 :],
                ]
                # Past what was put there: a wrapped operand begins with a parenthesis of its own, and would be wrapped for ever.
                i += 0 if whole or (before < 0 and after < 0) else len(tokens("select * from ("))
                continue
        i += 1
    return found


@dataclass
class _Scope:
    """One SELECT: where it stands, and what its FROM calls its tables."""

    begin: int
    end: int
    outer: _Scope | None
    tables: list[tuple[str, str, int]] = field(default_factory=list)
    """Table, alias ('' for none), index of the table's token."""

    def table_of(self, alias: str) -> str:
        """The table that an alias stands for here or further out; ''."""
        return next((t for t, a, _ in self.tables if a == alias), "") or (
            self.outer.table_of(alias) if self.outer else ""
        )


_AFTER_TABLE = {
    "where",
    "on",
    "join",
    "inner",
    "left",
    "right",
    "full",
    "cross",
    "natural",
    "group",
    "order",
    "having",
    "limit",
    "union",
    "intersect",
    "except",
    "as",
    "using",
}


def _scopes(found: Sequence[Token]) -> list[_Scope]:
    """Every SELECT with its tables, outer ones first."""
    scopes: list[_Scope] = []
    open_at: list[tuple[int, _Scope | None]] = []
    current: _Scope | None = None
    for i, t in enumerate(found):
        if t.text == "(":
            open_at.append((i, current))
        elif t.text == ")" and open_at:
            _, outer = open_at.pop()
            if current is not None and current is not outer:
                current.end = i
            current = outer
        elif t.key == "select":
            outer = open_at[-1][1] if open_at else None
            if current is not None and current is not outer:
                # The SELECT behind a set operation: a neighbour, not a part.
                current.end = i
            current = _Scope(i, len(found), outer)
            scopes.append(current)
        elif current is not None and (
            t.key in ("from", "join") or (t.text == "," and current.tables and _in_from(found, current, i))
        ):
            name = _next(found, i + 1)
            if name > 0 and found[name].identifier:
                after = _next(found, name + 1)
                if after > 0 and found[after].key == "as":
                    after = _next(found, after + 1)
                alias = found[after].identifier if after > 0 and found[after].key not in _AFTER_TABLE else ""
                current.tables.append((found[name].identifier, alias, name))
    return scopes


def _in_from(found: Sequence[Token], scope: _Scope, i: int) -> bool:
    """Whether token i stands in the FROM clause of a SELECT."""
    last = ""
    for t in outside_parentheses(found[scope.begin : i]):
        if t.key in ("select", "from", "where", "group", "order", "having"):
            last = t.key
    return last == "from"


def _alias_as_table(found: list[Token]) -> list[Token]:
    """`… from 夏季奥运会 as T1 where x > ( select avg ( T1.x ) from T1 )` → `… from 夏季奥运会 as T1 )`: an alias is no table."""
    out = list(found)
    for scope in _scopes(found):
        for table, alias, i in scope.tables:
            meant = scope.outer.table_of(table) if scope.outer else ""
            if meant and not alias:
                name = quoted(meant) if needs_quotes(meant) else meant
                out[i] = Token("word", f"{name} as {found[i].text}")
    return tokens(join(out))


def _tables_by_alias(found: list[Token]) -> list[Token]:
    """`from 企业融资 as T1 … on 企业融资.企业id == …` → `on T1.企业id == …`: a table that has an alias has no other name. Where it has two, its first mention is the first."""
    out = list(found)
    taken: Counter[tuple[int, str]] = Counter()
    scopes = _scopes(found)
    for i, t in enumerate(found):
        if (
            not t.identifier
            or i + 1 >= len(found)
            or found[i + 1].text != "."
            or (i and found[i - 1].text == ".")
        ):
            continue
        scope = next((s for s in reversed(scopes) if s.begin < i < s.end), None)
        while scope is not None:
            aliases = [a for table, a, _ in scope.tables if table == t.identifier and a]
            if aliases and not any(
                t.identifier in (a, table if not a else "") for table, a, _ in scope.tables
            ):
                out[i] = Token(
                    "word",
                    aliases[min(taken[scope.begin, t.identifier], len(aliases) - 1)].upper()
                    if aliases[0].isascii()
                    else aliases[0],
                )
                taken[scope.begin, t.identifier] += 1
                break
            scope = scope.outer
    return out


def _named_aggregates(found: list[Token]) -> list[Token]:
    """`a.x / b.x from … ( select sum ( x ) from t ) b` → `( select sum ( x ) as x from t ) b`: what is referred to by its column's name gets it."""
    out = list(found)
    for i, t in enumerate(found):
        if t.text != "(" or _next(found, i + 1) < 0 or found[_next(found, i + 1)].key != "select":
            continue
        end = _closing(found, i)
        alias = found[_next(found, end + 1)].identifier if end > 0 and _next(found, end + 1) > 0 else ""
        call = re.match(
            r'\s*select\s+\w+\s*\(\s*(?:\w+\.)?(\w+|"[^"]*")\s*\)\s*(?=from\b)',
            join(found[i + 1 : end]),
            re.I,
        )
        if not alias or not call:
            continue
        column = tokens(call[1])[0].identifier
        if any(
            a.identifier == alias and b.text == "." and c.identifier == column
            for a, b, c in zip(found, found[1:], found[2:], strict=False)
        ):
            close = _closing(found, next(j for j in range(i + 1, end) if found[j].text == "("))
            out[close] = Token("word", f") as {call[1]}")
    return tokens(join(out))


RULES: tuple[tuple[str, Callable[[list[Token]], list[Token]]], ...] = (
    ("split_limit", _split_limit),
    ("quote_names", _quote_names),
    ("quote_times", _quote_times),
    ("time_now", _time_now),
    ("set_operands", _set_operands),
    ("alias_as_table", _alias_as_table),
    ("tables_by_alias", _tables_by_alias),
    ("named_aggregates", _named_aggregates),
)
RULE_NAMES = (*(name for name, _ in RULES), "separate_columns")


@lru_cache(maxsize=512)
def _schema(context: str) -> tuple[sqlite3.Connection | None, tuple[str, ...], str]:
    """A context's empty tables and their names; or None and why SQLite can't read it."""
    try:
        connection = schema(context)
    except (sqlite3.Error, sqlite3.Warning, ValueError) as e:
        return None, (), f"the context can't be read: {e}"
    return connection, tuple(names_in(connection)), ""


def _problem(sql: str, connection: sqlite3.Connection | None) -> str:
    """What SQLite reports for a query without running it; '' when it would run, or when there is no schema."""
    if connection is None:
        return ""
    try:
        connection.execute(f"EXPLAIN {sql}").close()
    except (sqlite3.Error, sqlite3.Warning, ValueError) as e:
        return str(e)
    return ""


def normalise(sql: str, context: str = "", connection: sqlite3.Connection | None = None) -> Normalised:
    """A query in SQLite's dialect.

    :param context: CREATE TABLE statements to try it on; without them the rules alone decide.
    :param connection: a database to try it on, in place of the context.
    """
    if connection is not None:
        database: sqlite3.Connection | None = connection
        names, unread = tuple(names_in(connection)), ""
    else:
        database, names, unread = _schema(context) if context.strip() else (None, (), "")
    # First: without its quotes SQLite may take a name for something else, and run the query.
    found = quote_known_names(tokens(sql), names)
    used = ["quote_names"] if join(found) != sql else []
    if database is not None and not _problem(join(found), database):
        return Normalised(join(found), tuple(used))
    rules = (*RULES, ("separate_columns", partial(_separate_columns, names=names)))
    for name, rule in rules:
        changed = rule(found)
        if join(changed) != join(found):
            used.append(name)
            found = changed
    made = join(found).strip()
    return Normalised(made, tuple(dict.fromkeys(used)), unread or _problem(made, database))


def main(file: Path, databases: Path | None) -> int:
    """Normalise a file's rows to standard output; the exit code is 1 when the file can't be read."""
    counts: Counter[str] = Counter()
    try:
        for row in read_rows([file]):
            sql = row.get("answer") or row.get("query")
            if not isinstance(sql, str):
                raise ScoringError(
                    f"{file}: a row has neither 'answer' nor 'query': {json.dumps(row, ensure_ascii=False)[:120]}"
                )
            connection = (
                sqlite3.connect(
                    f"{(databases / (row['db_id'] + '.sqlite')).resolve().as_uri()}?mode=ro", uri=True
                )
                if databases
                else None
            )
            found = normalise(sql, str(row.get("context", "")), connection)
            counts.update(
                [
                    "rows",
                    *([] if found.problem else ["run"]),
                    *(["changed"] if found.rules else []),
                    *found.rules,
                ]
            )
            print(
                json.dumps(
                    row
                    | {
                        "answer_sqlite": None if found.problem else found.sql,
                        "rules": found.rules,
                        "problem": found.problem,
                    },
                    ensure_ascii=False,
                )
            )
            if found.problem:
                print(f"can't be normalised ({found.problem}): {sql}", file=sys.stderr)
    except (ScoringError, DatasetError, OSError, sqlite3.Error, KeyError) as e:
        print(e, file=sys.stderr)
        return 1
    rules = ", ".join(f"{name} {counts[name]}" for name in RULE_NAMES if counts[name])
    print(
        f"{counts['rows']} rows, {counts['changed']} changed ({rules or 'by no rule'}), {counts['run']} run ({100 * counts['run'] / max(1, counts['rows']):.1f} %)",
        file=sys.stderr,
    )
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        prog="python -m sqltune.sql.normalise",
        description="DuSQL's SQL to SQLite's: rows with answer_sqlite to standard output, counts to standard error.",
    )
    parser.add_argument(
        "file",
        type=Path,
        help="JSON lines or a JSON list; the query under answer or query, CREATE TABLE statements under context",
    )
    parser.add_argument(
        "--databases",
        type=Path,
        help="folder of <db_id>.sqlite to try the queries on; else each row's context",
    )
    given = parser.parse_args()
    sys.exit(main(given.file, given.databases))
