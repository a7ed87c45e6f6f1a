"""Rows of a small dataset, and what the data check finds in a changed revision of it."""

from __future__ import annotations

from sqltune.dataset.changes import check_rows, compare
from sqltune.dataset.split import split
from sqltune.node_contracts.data_check import DataCheck

SINCE = "a" * 40
"""Commit of the earlier revision."""
PERCENT = 30
"""Share of the databases that is held out."""

Row = dict[str, str]


def rows(databases: int = 20, per_database: int = 5) -> list[Row]:
    """As many questions about each of as many databases."""
    return [
        {
            "question": f"question {q} of {db}",
            "context": f'CREATE TABLE "t{db}" (a INTEGER)',
            "answer": f"SELECT a FROM t{db} WHERE a > {q}",
        }
        for db in range(databases)
        for q in range(per_database)
    ]


def check(after: list[Row], before: list[Row] | None = None) -> DataCheck:
    """Check a revision, against an earlier one where there is one."""
    changes = None if before is None else compare(before, after, SINCE, PERCENT)
    return check_rows(after, split(after, PERCENT), changes)
