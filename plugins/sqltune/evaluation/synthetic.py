"""Synthetic databases, for questions that come with CREATE TABLE statements and no data.

The context's tables are filled with rows that are about what the gold query and the prediction compare. A
column gets the literals it is compared with, and values just beside them. Columns that are joined share their
values: keys are unique, references are skewed and leave some keys out, so that an outer join, a count and its
order show. Everything else differs from row to row, so that two rows are not equal by chance.

Several copies, filled differently, tell apart two queries that agree on one of them: the idea of the
distilled test suites of Zhong, Yu and Klein (EMNLP 2020), without their search. The same context and queries
always give the same copies.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from functools import lru_cache

from sqltune.evaluation.query_hints import Hints, hints_of
from sqltune.evaluation.synthetic_rows import RowGenerator
from sqltune.sql.names import quoted
from sqltune.sql.schema import parse_context, schema

COPIES = 5
"""Synthetic databases that a pair of queries is compared on."""


def build(context: str, queries: Sequence[str], copy: int) -> sqlite3.Connection:
    """Create one copy of a context's database, in memory.

    Args:
        context: CREATE TABLE statements.
        queries: the gold query and the prediction.
        copy: which copy; each number gives other rows.

    Raises:
        sqlite3.Error: the context can't be read.
    """
    connection = schema(context)
    tables, foreign_keys = parse_context(context)
    generator = RowGenerator(tables, foreign_keys, _hints(context, tuple(queries)), copy)
    for table in tables:
        placeholders = ", ".join("?" * len(table.columns))
        connection.executemany(
            f"INSERT INTO {quoted(table.name)} VALUES ({placeholders})", generator.rows_of(table)
        )
    return connection


# The copies of one pair are built one after the other, and differ in their rows alone.
@lru_cache(maxsize=1)
def _hints(context: str, queries: tuple[str, ...]) -> Hints:
    return hints_of(parse_context(context)[0], *queries)
