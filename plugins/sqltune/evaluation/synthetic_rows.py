"""Rows of one synthetic database: every value follows from the context, the queries and the copy's number."""

from __future__ import annotations

import random
import re
from collections import Counter, defaultdict
from collections.abc import Sequence

from sqltune.evaluation.column_roles import KeyStrength, is_name, is_whole_name, key_strength
from sqltune.evaluation.query_hints import Hints, number
from sqltune.evaluation.synthetic_values import ColumnValues, matching, numbers_around, skewed
from sqltune.sql.schema import Column, Place, Table

FOCUSED_ROWS = 4
"""The first rows of each table hold what the queries compare, and belong together across tables."""
FOCUSED_SHARE = 0.4
"""Share of the other rows that are focused too: theirs are mostly the queries' literals."""
LITERAL_IF_FOCUSED = 0.75
"""Share of literals in a column of a focused row: conditions joined by AND must often hold together."""
LITERAL_ELSEWHERE = 0.25
"""The same for other rows: conditions must often fail, too."""
MIN_ROWS, MAX_ROWS = 21, 26
"""Rows of a table; more where queries compare the size of groups."""
ROWS_PER_GROUP_SIZE = 3
"""Rows more for each unit of the largest group size that queries compare."""
SHARED_KEYS = 10
"""Values that joined columns share, beside the literals."""
UNREFERENCED_KEYS = 2
"""Keys that no row refers to, so that outer joins and NOT IN show."""
NULLS = 3
"""Rows with NULL in a column that queries compare with NULL."""
GROUPS = 6
"""Values of a column that queries group by."""

_YEAR = re.compile(r"\d{4}")
_NUMBER = re.compile(r"-?\d+(\.\d+)?")


def _place(table: Table, column: Column) -> Place:
    return table.name.lower(), column.name.lower()


def joined_groups(pairs: Sequence[tuple[Place, Place]]) -> list[list[Place]]:
    """Columns that share their values, because they are joined or compared."""
    parent: dict[Place, Place] = {}

    def root(place: Place) -> Place:
        while parent.setdefault(place, place) != place:
            place = parent[place]
        return place

    for a, b in pairs:
        parent[root(a)] = root(b)
    groups: dict[Place, list[Place]] = defaultdict(list)
    for place in sorted(parent):
        groups[root(place)].append(place)
    return list(groups.values())


class RowGenerator:
    """Generates the rows of one copy of a database."""

    def __init__(
        self,
        tables: Sequence[Table],
        foreign_keys: Sequence[tuple[Place, Place]],
        hints: Hints,
        copy: int,
    ) -> None:
        self._hints, self._copy = hints, copy
        self._rng = random.Random(copy)
        more = ROWS_PER_GROUP_SIZE * max(hints.sizes, default=0)
        self._row_counts = {t.name: self._rng.randint(MIN_ROWS, MAX_ROWS) + more for t in tables}
        self._columns = {_place(t, c): (t, c) for t in tables for c in t.columns}
        self._domains: dict[Place, list[object]] = {}
        """The values that a joined column shares with others."""
        self._keys: set[Place] = set()
        """The columns that others refer to."""
        pairs = [p for p in (*foreign_keys, *hints.joined) if p[0] in self._columns and p[1] in self._columns]
        for members in joined_groups(pairs):
            self._share_domain(members)

    def _share_domain(self, members: Sequence[Place]) -> None:
        """Give joined columns one set of values, and find the key among them.

        The key is what most looks like one; where nothing does, no column is.
        """
        literals = {v for p in members for v in self._hints.literals.get(p, []) if not _is_pattern(v)}
        numeric = any(self._columns[p][1].kind == "number" for p in members)
        made = (i if numeric else f"k{i}" for i in range(1, SHARED_KEYS + len(literals)))
        domain: list[object] = list(dict.fromkeys([*sorted(literals, key=repr), *made]))
        self._rng.shuffle(domain)
        strengths = {p: key_strength(*self._columns[p]) for p in members}
        best = max(strengths.values())
        self._keys |= {p for p in members if best and strengths[p] == best}
        self._domains |= dict.fromkeys(members, domain)

    def rows_of(self, table: Table) -> list[list[object]]:
        """All rows of a table."""
        count = self._row_counts[table.name]
        values = [self._values(table, column, count) for column in table.columns]
        focused = [i < FOCUSED_ROWS or self._rng.random() < FOCUSED_SHARE for i in range(count)]
        rows = [[self._cell(v, i, focused[i]) for v in values] for i in range(count)]
        for at, (column_values, column) in enumerate(zip(values, table.columns, strict=True)):
            place = _place(table, column)
            if column_values.once:
                self._place_names(rows, at, place, column_values.literals)
            if place in self._hints.nulls and place not in self._keys:
                for i in self._rng.sample(range(count), NULLS):
                    rows[i][at] = None
        return rows

    def _cell(self, values: ColumnValues, i: int, focused: bool) -> object:
        if values.once or not values.literals:
            return values.base[i]
        if i < FOCUSED_ROWS - 1:
            return values.literals[(i // 2) % len(values.literals)]
        share = LITERAL_IF_FOCUSED if focused else LITERAL_ELSEWHERE
        return self._rng.choice(values.literals) if self._rng.random() < share else values.base[i]

    def _place_names(
        self, rows: list[list[object]], at: int, place: Place, literals: Sequence[object]
    ) -> None:
        """Put each name that a query compares with into one row.

        What the first query names is in the row with most references to it; what only the second names is in
        another. Every other copy leaves out the latter: one row for each would make two counts equal.
        """
        seen: Counter[int] = Counter()
        for value in literals:
            query = self._hints.compared_by.get((place, value), 0)
            if query and self._copy % 2:
                continue
            rows[FOCUSED_ROWS * query + seen[query] % FOCUSED_ROWS][at] = value
            seen[query] += 1

    def _values(self, table: Table, column: Column, count: int) -> ColumnValues:
        """The values of a column, by the first of its roles that applies."""
        place = _place(table, column)
        literals = list(dict.fromkeys(self._hints.literals.get(place, [])))
        if place in self._domains:
            return self._joined(table, column, count)
        if self._is_grouped(table, place) and not literals:
            return ColumnValues(skewed(self._few_values(column), count, self._hints.sizes, self._rng))
        if key_strength(table, column) >= KeyStrength.RELATED_ID and not literals:
            return ColumnValues(self._rng.sample(range(1, 80), count))
        if column.kind == "number" or place in self._hints.summed:
            return numbers_around(literals, count, self._rng)
        texts = [matching(v, self._rng) for v in literals]
        if column.kind == "time":
            return self._times(texts, count)
        return self._texts(table, column, texts, count)

    def _joined(self, table: Table, column: Column, count: int) -> ColumnValues:
        place = _place(table, column)
        domain = self._domains[place]
        if place not in self._keys:
            return ColumnValues(self._references(table, column, domain, count))
        textual = isinstance(domain[-1], str)
        more = [f"k{i}" if textual else i for i in range(100, 100 + count)]
        return ColumnValues([*domain, *more][:count])

    def _has_key(self, table: Table) -> bool:
        """Whether other tables refer to a table."""
        return any(_place(table, c) in self._keys for c in table.columns)

    def _is_grouped(self, table: Table, place: Place) -> bool:
        """Whether a column has few values, each in several rows, because queries group by it."""
        if place not in self._hints.shared:
            return False
        return not self._has_key(table) or (place in self._hints.both_sides and not is_name(place[1]))

    def _few_values(self, column: Column) -> list[object]:
        if column.kind == "number":
            return list(self._rng.sample(range(1, 90), GROUPS))
        return [f"{column.name[:3]}{i}" for i in self._rng.sample(range(1, 30), GROUPS)]

    def _times(self, texts: Sequence[object], count: int) -> ColumnValues:
        """Years; days where queries compare with days. The years just beside a literal occur too."""
        years = [str(v) for v in texts if _YEAR.fullmatch(str(v))]
        rng = self._rng
        base: list[object] = [
            f"{year}-{rng.randint(1, 12):02}-{rng.randint(1, 28):02}" if texts and not years else str(year)
            for year in rng.sample(range(1940, 2030), count)
        ]
        return ColumnValues(base, [*texts, *(str(int(year) + d) for year in years for d in (-1, 1))])

    def _texts(self, table: Table, column: Column, texts: list[object], count: int) -> ColumnValues:
        place = _place(table, column)
        numbers = [number(str(v)) for v in texts if _NUMBER.fullmatch(str(v))]
        if texts and len(numbers) == len(texts) and None not in numbers:
            return numbers_around(numbers, count, self._rng)
        names_entity = self._has_key(table) or is_whole_name(place[1])
        base: list[object] = [f"{column.name[:3]}{n}" for n in self._rng.sample(range(1, 300), count)]
        return ColumnValues(base, texts, once=names_entity and place not in self._hints.shared)

    def _references(self, table: Table, column: Column, domain: list[object], count: int) -> list[object]:
        """Keys that are referred to, some often, some never.

        In the first rows the keys of what the queries compare meet, through however many joins.
        """
        used = domain[:-UNREFERENCED_KEYS] if len(domain) > 2 * UNREFERENCED_KEYS else domain
        often = [used[0], *self._rng.sample(used[1:], len(used) - 1)]
        head = often[:3]
        self._rng.shuffle(head)
        chosen = skewed([*head, *often[3:]], count, self._hints.sizes, self._rng)
        for i, key in enumerate(self._first_keys(table, column, used)):
            if key in chosen[i:]:
                j = chosen.index(key, i)
                chosen[i], chosen[j] = chosen[j], chosen[i]
        return chosen

    def _first_keys(self, table: Table, column: Column, used: list[object]) -> tuple[object, ...]:
        """The keys of a reference's first rows; a table's second reference to the same key has others."""
        domain = self._domains[_place(table, column)]
        same = [c for c in table.columns if self._domains.get(_place(table, c)) is domain]
        one, other = used[0], used[min(1, len(used) - 1)]
        first, second = (one, other) if same.index(column) % 2 == 0 else (other, one)
        return first, second, one, first


def _is_pattern(value: object) -> bool:
    return isinstance(value, str) and "%" in value
