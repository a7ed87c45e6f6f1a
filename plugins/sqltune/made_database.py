"""Databases for questions that come with CREATE TABLE statements and no data.

The target data set is of that kind. So databases are made: the context's tables, filled with rows that are about what gold and prediction ask for.
A column gets the literals it is compared with, and values just beside them; columns that are joined share their values; keys are unique, references are
skewed and leave some rows out, so that an outer join, a count and its order show; the rest differs from row to row, so that two rows are not the same by chance.
Several copies, filled differently, tell apart two queries that agree on one of them: the idea of the distilled test suites of Zhong, Yu and Klein (EMNLP 2020),
without their search. The same question, gold and prediction give the same copies, always.
"""

from __future__ import annotations

import random
import re
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from sqltune.sql_text import SET_OPERATIONS, Token, join, meaningful, tokens, unquoted

COPIES = 5
"""Databases a pair of queries is compared on."""

FOCUSED = 4
"""Rows of each table that are about what is asked, and belong together."""

_NUMERIC = re.compile(r"INT|NUM|REAL|FLOA|DOUB|DEC|BOOL", re.I)
_TIME = re.compile(r"TIME|DATE|YEAR", re.I)
_CONSTRAINTS = {"primary", "foreign", "unique", "check", "constraint", "key"}


@dataclass(frozen=True)
class Column:
    """A column of a context: `kind` is number, time or text."""

    name: str
    kind: str
    key: bool = False


@dataclass(frozen=True)
class Table:
    """A table of a context."""

    name: str
    columns: tuple[Column, ...]


def quoted(name: str) -> str:
    """A name in SQL's quotes."""
    return '"' + name.replace('"', '""') + '"'


def _with_quoted_names(context: str) -> str:
    """The statements with the names of tables and columns in quotes: some begin with a digit, some are words of SQL."""
    out: list[Token] = []
    depth, expects = 0, ""
    for t in tokens(context):
        if t.kind in ("space", "comment"):
            pass
        elif t.key == "table" and depth == 0:
            expects = "table"
        elif t.text == "(":
            depth += 1
            expects = "column" if depth == 1 else ""
        elif t.text == ")":
            depth -= 1
        elif t.text == "," and depth == 1:
            expects = "column"
        elif t.key in ("if", "not", "exists") and expects == "table":
            pass
        elif expects and t.kind == "word":
            if not (expects == "column" and t.key in _CONSTRAINTS):
                t = Token("name", quoted(t.text))
            expects = ""
        else:
            expects = ""
        out.append(t)
    return join(out)


@lru_cache(maxsize=512)
def parse_context(context: str) -> tuple[tuple[Table, ...], tuple[tuple[tuple[str, str], tuple[str, str]], ...]]:
    """Tables of CREATE TABLE statements, and foreign keys as pairs of (table, column) in lower case, as SQLite itself reads them.

    sqlite3.Error with SQLite's words for a statement that it can't read, or that is no CREATE TABLE.
    """
    connection = sqlite3.connect(":memory:")
    allowed = {sqlite3.SQLITE_CREATE_TABLE, sqlite3.SQLITE_CREATE_INDEX, sqlite3.SQLITE_INSERT, sqlite3.SQLITE_UPDATE, sqlite3.SQLITE_READ, sqlite3.SQLITE_REINDEX, sqlite3.SQLITE_TRANSACTION}
    connection.set_authorizer(lambda action, *_: sqlite3.SQLITE_OK if action in allowed else sqlite3.SQLITE_DENY)
    connection.executescript(_with_quoted_names(context))
    connection.set_authorizer(None)
    found, foreign = [], []
    for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY rowid").fetchall():
        columns = []
        for _, column, declared, _, _, primary in connection.execute(f"PRAGMA table_info({quoted(name)})"):
            kind = "time" if _TIME.search(declared) else "number" if _NUMERIC.search(declared) else "text"
            columns.append(Column(column, kind, bool(primary)))
        for _, _, other, mine, theirs, *_ in connection.execute(f"PRAGMA foreign_key_list({quoted(name)})"):
            if theirs:
                foreign.append(((name.lower(), mine.lower()), (other.lower(), theirs.lower())))
        found.append(Table(name, tuple(columns)))
    connection.close()
    return tuple(found), tuple(foreign)


Place = tuple[str, str]
"""A column: table and name, in lower case."""


@dataclass
class Hints:
    """What two queries ask of the data."""

    literals: dict[Place, list[object]] = field(default_factory=lambda: defaultdict(list))
    asked_by: dict[tuple[Place, object], int] = field(default_factory=dict)
    """Which query named a literal first."""
    summed: set[Place] = field(default_factory=set)
    """Columns of AVG and SUM: numbers, whatever the context calls them."""
    joined: list[tuple[Place, Place]] = field(default_factory=list)
    shared: set[Place] = field(default_factory=set)
    """Grouped by, or on both sides of a set operation: few values, each in several rows."""
    sizes: set[int] = field(default_factory=set)
    """Numbers of rows in a group that are asked for."""
    nulls: set[Place] = field(default_factory=set)


_COMPARE = {"=", "==", "<", ">", "<=", ">=", "!=", "<>", "like", "is", "in", "between", "glob"}
_BEFORE_ALIAS = {"from", "join", ","}
_NO_ALIAS = {"where", "on", "join", "inner", "left", "right", "full", "cross", "natural", "group", "order", "having", "limit", "union", "intersect", "except", "as", "using", "set"}


def _value(token: Token, negative: bool) -> object:
    if token.kind == "text":
        return unquoted(token.text) if token.text.endswith("'") and len(token.text) > 1 else token.text[1:]
    if token.kind == "name":
        return unquoted(token.text)
    number = float(token.text)
    number = -number if negative else number
    return int(number) if number == int(number) and abs(number) < 1e15 else number


class _Reader:
    """Finds the hints of one query in its tokens; what it does not understand it leaves out."""

    def __init__(self, tables: Sequence[Table], hints: Hints, query: str, number: int) -> None:
        self.hints, self.number = hints, number
        self.tokens = meaningful(tokens(query))
        self.columns: dict[str, list[Place]] = defaultdict(list)
        for table in tables:
            for column in table.columns:
                self.columns[column.name.lower()].append((table.name.lower(), column.name.lower()))
        names = {t.name.lower() for t in tables}
        self.aliases: dict[str, str] = {}
        for i, t in enumerate(self.tokens[:-1]):
            name = self.tokens[i + 1].identifier
            if (t.key or t.text) in _BEFORE_ALIAS and name in names:
                rest = self.tokens[i + 2:i + 4]
                alias = rest[1] if len(rest) == 2 and rest[0].key == "as" else rest[0] if rest else None
                if alias is not None and alias.identifier and alias.key not in _NO_ALIAS:
                    self.aliases[alias.identifier] = name
                self.aliases.setdefault(name, name)

    def place(self, i: int) -> list[Place]:
        """The columns that the name ending at token i may mean."""
        t = self.tokens[i]
        found = self.columns.get(t.identifier, [])
        if i >= 2 and self.tokens[i - 1].text == ".":
            table = self.aliases.get(self.tokens[i - 2].identifier)
            return [p for p in found if p[0] == table] or found
        used = [p for p in found if p[0] in self.aliases.values()]
        return used or found

    def is_literal(self, i: int) -> bool:
        t = self.tokens[i]
        # SQLite takes "double quotes" that name no column for text, and Spider's golds are full of them.
        return t.kind in ("text", "number") or (t.kind == "name" and t.text[0] == '"' and t.identifier not in self.columns and not (i + 1 < len(self.tokens) and self.tokens[i + 1].text == "."))

    def read(self) -> None:
        ts = self.tokens
        for i, t in enumerate(ts):
            sign = t.key or t.text
            if sign in _COMPARE and 0 < i < len(ts) - 1:
                self._comparison(i, sign)
            elif sign == "by" and ts[i - 1].key == "group":
                for j in range(i + 1, min(i + 8, len(ts))):
                    if ts[j].key in ("having", "order", "limit", "union", "intersect", "except") or ts[j].text == ")":
                        break
                    self._share(j)
            elif sign in ("avg", "sum") and i + 2 < len(ts) and ts[i + 1].text == "(":
                j = i + 2
                while j + 2 < len(ts) and ts[j + 1].text == ".":
                    j += 2
                self.hints.summed.update(self.place(j))
            elif sign == "select" and any(x.key in SET_OPERATIONS for x in ts):
                for j in range(i + 1, min(i + 12, len(ts))):
                    if ts[j].key == "from":
                        break
                    self._share(j)

    def _share(self, i: int) -> None:
        self.hints.shared.update(self.place(i))

    def _comparison(self, i: int, sign: str) -> None:
        ts = self.tokens
        j = i + 1
        left = i - 1 - (ts[i - 1].key == "not")
        while j < len(ts) - 1 and (ts[j].text == "(" or ts[j].key in ("not", "lower", "upper", "trim")):
            j += 1
        if sign == "in" and ts[j].key == "select":
            j += 1 + (ts[j + 1].key == "distinct")
            while j + 2 < len(ts) and ts[j + 1].text == ".":
                j += 2
            inner = next((ts[k + 1].identifier for k in range(j, len(ts) - 1) if ts[k].key == "from"), "")
            self._join(left, j, self.aliases.get(inner, inner))
            return
        wrapped = ts[left].text == ")"
        while left > 0 and ts[left].text == ")":
            left -= 1
        if self.is_literal(left) and not self.is_literal(j):
            left, j = j, left
            if left + 2 < len(ts) and ts[left + 1].text == ".":
                left += 2
        many = sign in ("in", "between")
        end = min(len(ts), j + 60) if many else j + 1
        negative = ts[j].text == "-"
        if negative and not many:
            j, end = j + 1, j + 2
        values = []
        for k in range(j, min(end, len(ts))):
            if self.is_literal(k):
                values.append(_value(ts[k], ts[k - 1].text == "-"))
                if sign == "between" and len(values) == 2:
                    break
            elif many and (ts[k].text == ")" or ts[k].key in ("or", "group", "order")):
                break
        if values:
            places = self.place(left)
            counted = ts[left].text == "*" or (wrapped and any(x.key in ("count", "sum", "avg") for x in ts[max(0, left - 4):left]))
            if counted:
                self.hints.sizes |= {int(v) for v in values if isinstance(v, int | float) and 0 < v <= 12}
            for place in [] if counted else places:
                self.hints.literals[place] += values
                for value in values:
                    self.hints.asked_by.setdefault((place, value), self.number)
        elif sign == "is" and not any(t.key in ("left", "right", "full", "outer") for t in ts):
            # Behind an outer join it asks for rows without a partner, and those are there without it.
            self.hints.nulls.update(self.place(left))
        elif sign in ("=", "=="):
            right = j
            while right + 2 < len(ts) and ts[right + 1].text == ".":
                right += 2
            self._join(left, right)

    def _join(self, left: int, right: int, table: str = "") -> None:
        rights = self.place(right) if right < len(self.tokens) else []
        rights = [p for p in rights if p[0] == table] or rights
        lefts = self.place(left) if left >= 0 else []
        if table and len(lefts) > 1:
            # The outer column of an IN: of another table than the inner one, if there is a choice.
            lefts = [p for p in lefts if p[0] != table] or lefts
        for a in lefts[:2]:
            for b in rights[:2]:
                if a != b:
                    self.hints.joined.append((a, b))


def hints_of(tables: Sequence[Table], *queries: str) -> Hints:
    """What queries compare, join and group."""
    hints = Hints()
    for number, query in enumerate(queries):
        _Reader(tables, hints, query, number).read()
    return hints


def _groups(pairs: Sequence[tuple[Place, Place]]) -> list[list[Place]]:
    """Columns that share their values, because they are joined or compared."""
    parent: dict[Place, Place] = {}

    def root(p: Place) -> Place:
        while parent.setdefault(p, p) != p:
            p = parent[p]
        return p

    for a, b in pairs:
        parent[root(a)] = root(b)
    found: dict[Place, list[Place]] = defaultdict(list)
    for p in sorted(parent):
        found[root(p)].append(p)
    return list(found.values())


_ID = re.compile(r"(_?id|_?code|_?no|_?number|_?key|uid|编号|词条id)$")
_NAME = re.compile(r"(^|_|[a-z])(name|title)s?$|(名|名称|姓名|标题)$")
_PART_OF_NAME = re.compile(r"(first|last|middle|given|family|sur|f|l)_?name$")


def _keyness(table: Table, column: Column) -> int:
    """How much a column looks like its table's own key; 0 for not at all."""
    name, own = column.name.lower(), table.name.lower()
    if column.key:
        return 9 if sum(c.key for c in table.columns) == 1 else 0
    if not _ID.search(name):
        return 0
    stem = _ID.sub("", name).strip("_")
    first = table.columns[0] == column
    if not stem or _singular(stem) == _singular(own):
        return 8 if first else 6
    # A table that begins with two references is one of pairs: neither is its key.
    pairs = len(table.columns) > 1 and all(re.search(r"(id|_code|编号)$", c.name.lower()) for c in table.columns[:2])
    # Of ref_template_types and template_type; not of country_language and country, which is a reference.
    related = _singular(own).endswith(_singular(stem)) or _singular(own) in stem
    return (5 if related else 2) if first and not pairs else 0


def _singular(name: str) -> str:
    return re.sub(r"(ies|es|e|y|s)$", "", name.replace("_", ""))


def _skewed(values: Sequence[object], count: int, sizes: set[int], rng: random.Random) -> list[object]:
    """`count` choices of `values`, no two equally often where that is possible; the numbers of rows that are asked for are among them, and those beside them."""
    wanted = sorted({n + d for n in sizes for d in (-1, 0, 1)} - {0}, reverse=True)
    times = list(dict.fromkeys([*wanted, *range(6, 0, -1)]))
    chosen: list[object] = []
    for value, n in zip(values, times, strict=False):
        chosen += [value] * n
    chosen += [values[0]] * (count - len(chosen))
    rng.shuffle(chosen)
    return chosen[:count]


@dataclass(frozen=True)
class _Fill:
    """How a column is filled: a value for each row, and the literals that some rows have in its place."""

    base: list[object]
    literals: list[object] = field(default_factory=list)
    once: bool = False


class _Filler:
    """Rows of one copy."""

    def __init__(self, tables: Sequence[Table], foreign: Sequence[tuple[Place, Place]], hints: Hints, seed: int) -> None:
        self.hints = hints
        self.rng = random.Random(seed)
        self.rows = {t.name: self.rng.randint(21, 26) + 3 * max(hints.sizes, default=0) for t in tables}
        columns = {(t.name.lower(), c.name.lower()): (t, c) for t in tables for c in t.columns}
        self.domains: dict[Place, list[object]] = {}
        self.keys: set[Place] = set()
        for members in _groups([pair for pair in (*foreign, *hints.joined) if pair[0] in columns and pair[1] in columns]):
            literals = sorted({v for p in members for v in hints.literals.get(p, []) if not isinstance(v, str) or "%" not in v}, key=repr)
            numeric = any(columns[p][1].kind == "number" for p in members)
            domain = list(dict.fromkeys([*literals, *((i if numeric else f"k{i}") for i in range(1, 10 + len(literals)))]))
            self.rng.shuffle(domain)
            # One column of a group is the key the others refer to: what looks most like it, else where there is but one table none.
            best = max(_keyness(*columns[p]) for p in members)
            heads = [p for p in members if _keyness(*columns[p]) == best] if best else []
            self.keys |= set(heads)
            for p in members:
                self.domains[p] = domain

    def table(self, table: Table) -> list[list[object]]:
        """All rows of a table."""
        count = self.rows[table.name]
        fills = [self._fill(table, c, count) for c in table.columns]
        focus = [i < FOCUSED or self.rng.random() < 0.4 for i in range(count)]
        rows = [[self._cell(fill, i, focus[i]) for fill in fills] for i in range(count)]
        for number, (fill, column) in enumerate(zip(fills, table.columns, strict=True)):
            place = (table.name.lower(), column.name.lower())
            if fill.once:
                # What one query names of an entity is in one row, the one with most references to it; what only the other names is in another.
                seen: Counter[int] = Counter()
                for value in fill.literals:
                    query = self.hints.asked_by.get((place, value), 0)
                    rows[4 * query + seen[query] % 4][number] = value
                    seen[query] += 1
            if place in self.hints.nulls and place not in self.keys:
                for i in self.rng.sample(range(count), 3):
                    rows[i][number] = None
        return rows

    def _fill(self, table: Table, column: Column, count: int) -> _Fill:
        place = (table.name.lower(), column.name.lower())
        rng = self.rng
        literals = list(dict.fromkeys(self.hints.literals.get(place, [])))
        if place in self.domains:
            domain = self.domains[place]
            if place in self.keys:
                more = [f"k{i}" if isinstance(domain[-1], str) else i for i in range(100, 100 + count)]
                return _Fill([*domain, *more][:count])
            return _Fill(self._references(table, column, domain, count))
        parent = any((table.name.lower(), c.name.lower()) in self.keys for c in table.columns)
        if place in self.hints.shared and not literals and not parent:
            few = rng.sample(range(1, 90), 6) if column.kind == "number" else [f"{column.name[:3]}{i}" for i in rng.sample(range(1, 30), 6)]
            return _Fill(_skewed(few, count, self.hints.sizes, rng))
        if _keyness(table, column) >= 4 and not literals:
            return _Fill(rng.sample(range(1, 80), count))
        if column.kind == "number" or place in self.hints.summed:
            return self._numbers(literals, count)
        texts = [_like(v, rng) for v in literals]
        if column.kind == "time":
            days = bool(texts) and not any(re.fullmatch(r"\d{4}", str(v)) for v in texts)
            base: list[object] = [f"{y}-{rng.randint(1, 12):02}-{rng.randint(1, 28):02}" if days else str(y) for y in rng.sample(range(1940, 2030), count)]
            return _Fill(base, [*texts, *(str(int(str(v)) + d) for v in texts if re.fullmatch(r"\d{4}", str(v)) for d in (-1, 1))])
        if texts and all(isinstance(v, int | float) or re.fullmatch(r"-?\d+(\.\d+)?", str(v)) for v in texts):
            return self._numbers([float(str(v)) for v in texts], count)
        name = parent or (_NAME.search(place[1]) and not _PART_OF_NAME.search(place[1]))
        base = [f"{column.name[:3]}{n}" for n in rng.sample(range(1, 300), count)]
        return _Fill(base, texts, once=bool(name) and place not in self.hints.shared)

    def _references(self, table: Table, column: Column, domain: list[object], count: int) -> list[object]:
        """Keys that are referred to, some often, some never. In the first rows what is asked for meets, through however many joins."""
        used = domain[:-2] if len(domain) > 4 else domain
        often = [used[0], *self.rng.sample(used[1:], len(used) - 1)]
        head = often[:3]
        self.rng.shuffle(head)
        chosen = _skewed([*head, *often[3:]], count, self.hints.sizes, self.rng)
        same = [c for c in table.columns if self.domains.get((table.name.lower(), c.name.lower())) is domain]
        one, other = used[0], used[min(1, len(used) - 1)]
        first, second = (one, other) if same.index(column) % 2 == 0 else (other, one)
        for i, wanted in enumerate((first, second, one, first)):
            if wanted in chosen[i:]:
                j = chosen.index(wanted, i)
                chosen[i], chosen[j] = chosen[j], chosen[i]
        return chosen

    def _numbers(self, literals: Sequence[object], count: int) -> _Fill:
        """Numbers around those that are asked for, no two alike but for the literals and what is just beside them."""
        numbers = [v for v in literals if isinstance(v, int | float)]
        top = max([300.0 if numbers else 90_000.0, *(2.2 * abs(n) for n in numbers)])
        step = 0.5 if numbers and max(abs(n) for n in numbers) < 5 else 1
        base: list[object] = [int(v) if v == int(v) else v for v in (round(top * (x / 997 if numbers else (x / 997) ** 3) / step) * step for x in self.rng.sample(range(1, 997), count))]
        if numbers and max(numbers) < 20:
            base = [self.rng.choice((v, round(2 * max(numbers) * self.rng.random(), 1))) for v in base]
        near = [n + d for n in numbers for d in (0, 0, step, -step)]
        return _Fill(base, [*(int(v) if v == int(v) else v for v in near), *(v for v in literals if isinstance(v, str))])

    def _cell(self, fill: _Fill, i: int, focus: bool) -> object:
        if fill.once or not fill.literals:
            return fill.base[i]
        if i < FOCUSED - 1:
            return fill.literals[(i // 2) % len(fill.literals)]
        return self.rng.choice(fill.literals) if self.rng.random() < (0.75 if focus else 0.25) else fill.base[i]


def _like(value: object, rng: random.Random) -> object:
    """A value that a LIKE pattern matches; other values as they are."""
    if not isinstance(value, str) or "%" not in value:
        return value
    return re.sub(r"%", lambda _: rng.choice(("", "x", "yz")), value).replace("_", "q")


_AFFINITY = {"number": "NUMERIC", "time": "TEXT", "text": "TEXT"}


def schema(context: str) -> sqlite3.Connection:
    """A context's tables without a row, in memory. sqlite3.Error when the context can't be read, or describes no table."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    tables, _ = parse_context(context)
    if not tables:
        raise sqlite3.OperationalError("the context has no CREATE TABLE")
    for table in tables:
        connection.execute(f"CREATE TABLE {quoted(table.name)} ({', '.join(f'{quoted(c.name)} {_AFFINITY[c.kind]}' for c in table.columns)})")
    return connection


def build(context: str, queries: Sequence[str], copy: int) -> sqlite3.Connection:
    """One filled copy of a context's database, in memory. sqlite3.Error when the context can't be read."""
    connection = schema(context)
    tables, foreign = parse_context(context)
    filler = _Filler(tables, foreign, hints_of(tables, *queries), copy)
    for table in tables:
        connection.executemany(f"INSERT INTO {quoted(table.name)} VALUES ({', '.join('?' * len(table.columns))})", filler.table(table))
    return connection
