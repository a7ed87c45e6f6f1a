"""Finds the witness of a pair: the smallest database found on which gold query and prediction differ.

A counterexample convinces when it is small. To find the smallest part of a database on which two queries
differ is NP-hard in general (Miao, Roy and Yang, "Explaining Wrong Queries Using Small Examples", SIGMOD
2019; their system RATest). They solve it by provenance and constraints, for queries that these can express.
Here every query that runs must do, hostile ones included, so the database that told the two apart is shrunk
by running them (`shrink`). The result is minimal, in that no row of it can go, and small rather than the
smallest. As in their work, references stay whole: a row whose partner exists keeps it. Cosette (Chu, Wang,
Weitz and Cheung, CIDR 2017) and XData (Chandra and others, VLDB Journal 24, 2015) construct a counterexample
from the structure of the queries; that part the synthetic databases play.

The comparison is the judge's, in the judge's sandbox. The search is bounded by counts, so that a pair has the
same witness on every machine; the clock ends only what is hostile.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from itertools import chain, tee

from sqltune.evaluation.failures import QueryFailed
from sqltune.evaluation.judge import (
    MAX_COPIES,
    ComparedRows,
    GoldQueryAmbiguous,
    GoldQueryFailed,
    JudgingDatabase,
    Pair,
    synthetic_copy,
)
from sqltune.evaluation.row_difference import row_difference
from sqltune.evaluation.sandbox import Database, Row
from sqltune.evaluation.shrink import Item, Items, ShrinkingEnded, shrink, whole_rows
from sqltune.evaluation.witness_document import Json, result_document, table_document
from sqltune.evaluation.witness_source import Schema, Source, SourceRows
from sqltune.sql.queries import has_order_by, with_joined_operators, without_distinct

SMALL = 3
"""Rows of a table up to which a person takes a witness in at a glance."""
MAX_COMPARISONS = 300
"""Databases that one pair is compared on, at most."""
MAX_STEPS = 3_000_000
"""SQLite instructions that all comparisons of one pair may take."""
MAX_ROWS_FILLED = 25_000
"""Rows that all of them may be filled with."""
MAX_SECONDS = 2.0
"""Processor seconds after which a search ends that no count has ended: calls of functions may be slow."""
PART_FOR_PLAIN = 0.75
"""Part of these limits that the search for a plain difference may use; the rest is for any other."""
MAX_TRIES = 5
"""Samples that are shrunk until one of them leaves a small witness: most of the others need their rows."""

Rows = dict[str, list[Row]]
"""The rows of each table."""

Sample = list[Item]
"""Rows to start from, in the order in which it is tried to remove them."""


class Laboratory:
    """A database in memory that is filled again and again, to compare one pair on it.

    Args:
        pair: the pair.
        schema: the tables.

    Attributes:
        tables: the tables that the two queries read.
        comparisons: databases that the pair was compared on.

    Raises:
        QueryFailed: the prediction does not run on empty tables.
        GoldQueryFailed: the gold query does not.
        sqlite3.Error: the tables can't be created.
    """

    def __init__(self, pair: Pair, schema: Schema) -> None:
        self._pair, self._schema = pair, schema
        self._synthetic = pair.database is None
        self._database = Database(schema.empty(), MAX_STEPS)
        self._on_nothing = JudgingDatabase(self._database, synthetic=False).rows(pair)
        self._reads = frozenset(self._database.reads)
        read = {table for table, _ in self._reads}
        self.tables = [table for table in schema.columns if table in read]
        self.comparisons = self._rows_filled = 0
        self._part = 1.0
        self._end = time.process_time() + MAX_SECONDS

    def allow(self, part: float) -> None:
        """Set the part of each limit that may be used by now."""
        self._part = part
        self._database.max_steps = MAX_STEPS * part

    @property
    def exhausted(self) -> bool:
        """Whether no further database may be compared."""
        return (
            self.comparisons >= MAX_COMPARISONS * self._part
            or self._database.steps > MAX_STEPS * self._part
            or self._rows_filled > MAX_ROWS_FILLED * self._part
            or time.process_time() > self._end
        )

    def differ(self, rows: Rows, *, plainly: bool) -> bool:
        """Return whether the queries differ on some rows, as the judge sees it.

        Args:
            rows: the rows.
            plainly: count no difference that is one of ties, or of how often a row of a set occurs (the judge
                ignores these on synthetic databases, and not on real ones), nor one between queries that see
                no row at all (on empty tables a count and a sum differ).
        """
        self.comparisons += 1
        self._rows_filled += sum(map(len, rows.values()))
        try:
            compared = self._compare(rows, synthetic=plainly or self._synthetic, accept_ambiguous=not plainly)
        except (QueryFailed, GoldQueryFailed, GoldQueryAmbiguous):
            return False
        return not compared.matched and not (plainly and self._sees_nothing(compared))

    def _compare(self, rows: Rows, *, synthetic: bool, accept_ambiguous: bool) -> ComparedRows:
        self._database.refill(rows)
        database = JudgingDatabase(self._database, synthetic=synthetic)
        return database.rows(self._pair, accept_ambiguous=accept_ambiguous)

    def _sees_nothing(self, compared: ComparedRows) -> bool:
        nothing = self._on_nothing
        return compared.gold == nothing.gold and compared.predicted == nothing.predicted

    def document(self, found: Found) -> Json | None:
        """Return a witness as the JSON of `Witness`; None if the queries agree now, as `random()` may."""
        self._database.max_steps = math.inf
        tied = not found.plain and self._tied(found.rows)
        compared = self._compare(found.rows, synthetic=self._synthetic, accept_ambiguous=True)
        if compared.matched:
            return None
        difference = row_difference(compared.gold, compared.predicted)
        return {
            "source": "synthetic" if self._synthetic else "real",
            "tables": [self._table(table, rows) for table, rows in found.rows.items()],
            "gold": self._result(self._pair.gold, compared.gold, difference.gold),
            "answer": self._result(self._pair.predicted, compared.predicted, difference.predicted),
            "difference": difference.kind,
            "distinct_dropped": any(
                without_distinct(query) != query for query in (self._pair.gold, self._pair.predicted)
            ),
            "tied": tied,
            "small": found.small,
            "minimal": found.minimal,
            "comparisons": self.comparisons,
        }

    def _tied(self, rows: Rows) -> bool:
        """Whether rows tie under the gold query's ORDER BY, so that it has several correct answers."""
        if not has_order_by(self._pair.gold):
            return False
        try:
            return not self._compare(rows, synthetic=True, accept_ambiguous=False).ordered
        except GoldQueryAmbiguous:
            return True

    def _table(self, table: str, rows: Sequence[Row]) -> Json:
        columns = self._schema.columns[table]
        read = {column for name, column in self._reads if name == table}
        return table_document(table, columns, read, self._schema.create[table], rows)

    def _result(self, query: str, rows: Sequence[Row], different: Sequence[int]) -> Json:
        columns = self._database.result(without_distinct(with_joined_operators(query))).columns
        return result_document(columns, rows, frozenset(different))

    def close(self) -> None:
        """Close the database."""
        self._database.close()


@dataclass(frozen=True)
class Found:
    """Rows on which a pair differs.

    Attributes:
        rows: the rows of each table that the pair reads.
        plain: whether the difference is plain; see `Laboratory.differ`.
        minimal: whether no row can be removed.
    """

    rows: Rows
    plain: bool
    minimal: bool

    @property
    def small(self) -> bool:
        """Whether no table has more than `SMALL` rows."""
        return self.size[0] <= SMALL

    @property
    def size(self) -> tuple[int, int]:
        """Rows of the largest table, and of all."""
        counts = [len(rows) for rows in self.rows.values()]
        return max(counts, default=0), sum(counts)


class WitnessFinder:
    """Finds witnesses in this process; keeps the rows of database files."""

    def __init__(self) -> None:
        self._files: dict[str, Source] = {}

    def find(self, pair: Pair) -> Json | None:
        """Return the JSON of a pair's `Witness`; None where none is found.

        Never raises: a pair costs its own witness and no other.

        Args:
            pair: a pair that does not match.
        """
        try:
            return self._find(pair)
        except Exception:
            # As in the judge: whatever a prediction provokes.
            return None

    def _find(self, pair: Pair) -> Json | None:
        with ExitStack() as opened:
            sources = self._sources(pair, opened)
            first = next(sources)
            laboratory = opened.enter_context(closing(Laboratory(pair, first.schema)))
            rows = (SourceRows(source, laboratory.tables, pair) for source in chain([first], sources))
            plain, other = tee((table_rows, sample) for table_rows in rows for sample in table_rows.samples())
            laboratory.allow(PART_FOR_PLAIN)
            found = _smallest(laboratory, plain, plainly=True)
            laboratory.allow(1.0)
            found = found or _smallest(laboratory, other, plainly=False)
            return laboratory.document(found) if found else None

    def _sources(self, pair: Pair, opened: ExitStack) -> Iterator[Source]:
        """Yield the databases that the judge compares a pair on."""
        if pair.database is None:
            for copy in range(MAX_COPIES):
                yield opened.enter_context(closing(Source(Database(synthetic_copy(pair, copy)))))
            return
        if pair.database not in self._files:
            self._files[pair.database] = Source.of_file(pair.database)
        yield self._files[pair.database]


def _smallest(
    laboratory: Laboratory, starts: Iterable[tuple[SourceRows, Sample]], *, plainly: bool
) -> Found | None:
    """Return the first small witness, else the smallest; None where the queries differ on no sample."""
    found: list[Found] = []
    for rows, sample in starts:
        if laboratory.exhausted or len(found) == MAX_TRIES or (found and found[-1].small):
            break
        if shrunk := _shrunk(laboratory, rows, sample, plainly=plainly):
            found.append(shrunk)
    return min(found, key=lambda one: one.size, default=None)


def _shrunk(laboratory: Laboratory, source: SourceRows, sample: Sample, *, plainly: bool) -> Found | None:
    """Return what is left of a sample, or None where the queries do not differ on it."""

    def differ(items: Items) -> bool:
        if laboratory.exhausted:
            raise ShrinkingEnded
        return laboratory.differ(source.rows(items), plainly=plainly)

    def found(items: Items) -> Found:
        # Ties among all rows may hide that these few differ plainly.
        plain = plainly or laboratory.differ(source.rows(items), plainly=True)
        return Found(source.rows(items), plain, minimal=not laboratory.exhausted)

    if not laboratory.differ(source.rows(frozenset(sample)), plainly=plainly):
        return None
    kept = shrink(sample, differ, whole_rows(source.links))
    whole = found(kept)
    return whole if whole.small else found(shrink(sorted(kept), differ))
