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

from sqltune.evaluation.query_hints import Hints, Place, hints_of, number
from sqltune.sql.names import quoted
from sqltune.sql.schema import Column, Table, parse_context, schema

COPIES = 5
"""Databases a pair of queries is compared on."""

FOCUSED = 4
"""Rows of each table that are about what is asked, and belong together."""


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
    pairs = len(table.columns) > 1 and all(
        re.search(r"(id|_code|编号)$", c.name.lower()) for c in table.columns[:2]
    )
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

    def __init__(
        self, tables: Sequence[Table], foreign: Sequence[tuple[Place, Place]], hints: Hints, seed: int
    ) -> None:
        self.hints, self.seed = hints, seed
        self.rng = random.Random(seed)
        self.rows = {t.name: self.rng.randint(21, 26) + 3 * max(hints.sizes, default=0) for t in tables}
        columns = {(t.name.lower(), c.name.lower()): (t, c) for t in tables for c in t.columns}
        self.domains: dict[Place, list[object]] = {}
        self.keys: set[Place] = set()
        for members in _groups(
            [pair for pair in (*foreign, *hints.joined) if pair[0] in columns and pair[1] in columns]
        ):
            literals = sorted(
                {
                    v
                    for p in members
                    for v in hints.literals.get(p, [])
                    if not isinstance(v, str) or "%" not in v
                },
                key=repr,
            )
            numeric = any(columns[p][1].kind == "number" for p in members)
            domain = list(
                dict.fromkeys(
                    [*literals, *((i if numeric else f"k{i}") for i in range(1, 10 + len(literals)))]
                )
            )
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
        for at, (fill, column) in enumerate(zip(fills, table.columns, strict=True)):
            place = (table.name.lower(), column.name.lower())
            if fill.once:
                # What one query names of an entity is in one row, the one with most references to it; what only the other names is in another.
                seen: Counter[int] = Counter()
                for value in fill.literals:
                    query = self.hints.asked_by.get((place, value), 0)
                    if query and self.seed % 2:
                        # One row for what the gold names and one for what the prediction does: a count would not tell them apart.
                        continue
                    rows[4 * query + seen[query] % 4][at] = value
                    seen[query] += 1
            if place in self.hints.nulls and place not in self.keys:
                for i in self.rng.sample(range(count), 3):
                    rows[i][at] = None
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
        if (
            place in self.hints.shared
            and not literals
            and (not parent or (place in self.hints.both_sides and not _NAME.search(place[1])))
        ):
            few = (
                rng.sample(range(1, 90), 6)
                if column.kind == "number"
                else [f"{column.name[:3]}{i}" for i in rng.sample(range(1, 30), 6)]
            )
            return _Fill(_skewed(few, count, self.hints.sizes, rng))
        if _keyness(table, column) >= 4 and not literals:
            return _Fill(rng.sample(range(1, 80), count))
        if column.kind == "number" or place in self.hints.summed:
            return self._numbers(literals, count)
        texts = [_like(v, rng) for v in literals]
        if column.kind == "time":
            days = bool(texts) and not any(re.fullmatch(r"\d{4}", str(v)) for v in texts)
            base: list[object] = [
                f"{y}-{rng.randint(1, 12):02}-{rng.randint(1, 28):02}" if days else str(y)
                for y in rng.sample(range(1940, 2030), count)
            ]
            return _Fill(
                base,
                [
                    *texts,
                    *(str(int(str(v)) + d) for v in texts if re.fullmatch(r"\d{4}", str(v)) for d in (-1, 1)),
                ],
            )
        numbers = [number(str(v)) for v in texts if re.fullmatch(r"-?\d+(\.\d+)?", str(v))]
        if texts and len(numbers) == len(texts) and None not in numbers:
            return self._numbers(numbers, count)
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
        base: list[object] = [
            int(v) if v == int(v) else v
            for v in (
                round(top * (x / 997 if numbers else (x / 997) ** 3) / step) * step
                for x in self.rng.sample(range(1, 997), count)
            )
        ]
        if numbers and max(numbers) < 20:
            base = [self.rng.choice((v, round(2 * max(numbers) * self.rng.random(), 1))) for v in base]
        near = [n + d for n in numbers for d in (0, 0, step, -step)]
        return _Fill(
            base,
            [*(int(v) if v == int(v) else v for v in near), *(v for v in literals if isinstance(v, str))],
        )

    def _cell(self, fill: _Fill, i: int, focus: bool) -> object:
        if fill.once or not fill.literals:
            return fill.base[i]
        if i < FOCUSED - 1:
            return fill.literals[(i // 2) % len(fill.literals)]
        return (
            self.rng.choice(fill.literals) if self.rng.random() < (0.75 if focus else 0.25) else fill.base[i]
        )


def _like(value: object, rng: random.Random) -> object:
    """A value that a LIKE pattern matches; other values as they are."""
    if not isinstance(value, str) or "%" not in value:
        return value
    return re.sub(r"%", lambda _: rng.choice(("", "x", "yz")), value).replace("_", "q")


def build(context: str, queries: Sequence[str], copy: int) -> sqlite3.Connection:
    """One filled copy of a context's database, in memory. sqlite3.Error when the context can't be read."""
    connection = schema(context)
    tables, foreign = parse_context(context)
    filler = _Filler(tables, foreign, hints_of(tables, *queries), copy)
    for table in tables:
        connection.executemany(
            f"INSERT INTO {quoted(table.name)} VALUES ({', '.join('?' * len(table.columns))})",
            filler.table(table),
        )
    return connection
