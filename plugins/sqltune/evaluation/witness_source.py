"""Rows that a witness is made of: those of a database file, or of one synthetic database."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from sqltune.evaluation.judge import Pair
from sqltune.evaluation.query_hints import hints_of
from sqltune.evaluation.references import references
from sqltune.evaluation.sandbox import Database, Row
from sqltune.evaluation.shrink import Item, Items
from sqltune.sql.names import quoted
from sqltune.sql.queries import with_joined_operators
from sqltune.sql.schema import Place, parse_context

MAX_ROWS_READ = 10_000
"""Rows that are read of a table; of a larger one, the first."""
SAMPLE_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 1024, 4096)
"""Rows of each table in the samples that are tried before all of its rows."""
SAMPLES, SMALL_SAMPLE = 4, 64
"""Samples of each size up to the second number; of a larger size there is one."""

MAX_PARTNERS = 10
"""Rows with one value in a referred column, up to which it is taken for a key."""


@dataclass(frozen=True)
class Schema:
    """The tables of a database.

    Attributes:
        create: the CREATE statements of tables and views, by name.
        columns: the columns of each table; views have none here.
    """

    create: dict[str, str]
    columns: dict[str, tuple[str, ...]]

    def empty(self) -> sqlite3.Connection:
        """Create the tables and views in memory, without a row."""
        connection = sqlite3.connect(":memory:", isolation_level=None)
        for statement in self.create.values():
            connection.execute(statement)
        return connection


class Source:
    """A database that rows are taken from; remembers what it has read.

    Args:
        database: the database.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._rows: dict[str, list[Row]] = {}

    @classmethod
    def of_file(cls, path: str) -> Source:
        """Open a database file read-only."""
        return cls(Database.open_file(Path(path)))

    @cached_property
    def schema(self) -> Schema:
        """The tables and views. Virtual tables are left out: they may load code."""
        statements = self._database.rows(
            "SELECT name, sql, type = 'table' FROM sqlite_master WHERE sql IS NOT NULL "
            "AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' "
            "AND (type = 'table' AND rootpage > 0 OR type = 'view') ORDER BY type, rowid"
        )
        create = {str(name): str(sql) for name, sql, _ in statements}
        tables = [str(name) for name, _, is_table in statements if is_table]
        return Schema(create, {name: self._columns(name) for name in tables})

    def _columns(self, table: str) -> tuple[str, ...]:
        return self._database.result(f"SELECT * FROM {quoted(table)} LIMIT 0").columns

    def rows(self, table: str) -> list[Row]:
        """Return the rows of a table, at most `MAX_ROWS_READ`.

        Raises:
            QueryFailed: they are too large.
        """
        if table not in self._rows:
            self._rows[table] = self._database.rows(f"SELECT * FROM {quoted(table)} LIMIT {MAX_ROWS_READ}")
        return self._rows[table]

    def close(self) -> None:
        """Close the database."""
        self._database.close()


class SourceRows:
    """The rows of the tables that a pair reads, and what they refer to.

    Args:
        source: where they are from.
        tables: the tables.
        pair: the pair.

    Attributes:
        links: for each row that refers to others, the rows that each of its references may lead to.

    Raises:
        QueryFailed: the rows are too large.
    """

    def __init__(self, source: Source, tables: Sequence[str], pair: Pair) -> None:
        self._tables = tables
        self._rows = [source.rows(table) for table in tables]
        self._places: dict[Place, tuple[int, int]] = {
            (table.lower(), column.lower()): (number, position)
            for number, table in enumerate(tables)
            for position, column in enumerate(source.schema.columns[table])
        }
        self._values: dict[Place, Mapping[object, list[Item]]] = {}
        try:
            described, foreign_keys = parse_context(pair.context or "; ".join(source.schema.create.values()))
        except sqlite3.Error:
            described, foreign_keys = (), ()
        queries = with_joined_operators(pair.gold), with_joined_operators(pair.predicted)
        self._literals = hints_of(described, *queries).literals
        self.links: dict[Item, list[Items]] = defaultdict(list)
        for referring, referred in references(described, foreign_keys, *queries):
            if referring in self._places and referred in self._places:
                self._link(referring, referred)

    def _link(self, referring: Place, referred: Place) -> None:
        partners = self._by_value(referred)
        for value, items in self._by_value(referring).items():
            if value is not None and 0 < len(partners.get(value, ())) <= MAX_PARTNERS:
                targets = frozenset(partners[value])
                for item in items:
                    self.links[item].append(targets)

    def _by_value(self, place: Place) -> Mapping[object, list[Item]]:
        """Return the rows by their value in a column."""
        if place not in self._values:
            table, column = self._places[place]
            items: dict[object, list[Item]] = defaultdict(list)
            for number, row in enumerate(self._rows[table]):
                items[row[column]].append((table, number))
            self._values[place] = items
        return self._values[place]

    def rows(self, items: Items) -> dict[str, list[Row]]:
        """Return rows by table, in their order; a table without one has an empty list."""
        rows: dict[str, list[Row]] = {table: [] for table in self._tables}
        for table, number in sorted(items):
            rows[self._tables[table]].append(self._rows[table][number])
        return rows

    def samples(self) -> Iterator[list[Item]]:
        """Yield rows to start from: larger and larger samples, at last all rows."""
        largest = max(map(len, self._rows), default=0)
        for size in SAMPLE_SIZES:
            for number in range(SAMPLES if size <= SMALL_SAMPLE else 1):
                if size < largest:
                    yield sorted(self._sample(size, number))
        yield [(table, number) for table, rows in enumerate(self._rows) for number in range(len(rows))]

    def _sample(self, size: int, number: int) -> Items:
        """Rows spread over each table, those with the queries' literals, and what they refer to."""
        sample = {item for items in self._with_literals for item in items[:size]}
        sample |= {other for item in sample for other in self._referring.get(item, [])[:size]}
        for table, rows in enumerate(self._rows):
            step = max(1, len(rows) // size)
            first = number * step // SAMPLES
            sample |= {(table, row) for row in range(first, len(rows), step)[:size]}
        todo = sorted(sample)
        while todo:
            for targets in self.links.get(todo.pop(), ()):
                if sample.isdisjoint(targets):
                    todo.append(min(targets))
                    sample.add(min(targets))
        return frozenset(sample)

    @cached_property
    def _with_literals(self) -> list[list[Item]]:
        """For each literal of the queries, the rows that hold it in the column it is compared with."""
        return [
            self._by_value(place).get(value, [])
            for place, values in sorted(self._literals.items())
            if place in self._places
            for value in values
        ]

    @cached_property
    def _referring(self) -> Mapping[Item, list[Item]]:
        """For each row, those that refer to it."""
        referring: dict[Item, list[Item]] = defaultdict(list)
        for item, references_of_item in self.links.items():
            for targets in references_of_item:
                for target in targets:
                    referring[target].append(item)
        return referring
