"""What a revision of the dataset changes against an earlier one. Runs on the hosts, where the rows are."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from sqltune.dataset.overlap import overlap
from sqltune.dataset.split import Split, clean, database, held_out
from sqltune.node_contracts.data_check import (
    ChangedAnswer,
    Contradiction,
    DatabaseChange,
    DataCheck,
    RevisionChanges,
    UnusableRow,
)

EXAMPLES = 20
"""Rows of one kind that are shown."""
DATABASES = 200
"""Databases that are listed."""

_TABLE = re.compile(r'create\s+table\s+(?:if\s+not\s+exists\s+)?("[^"]+"|`[^`]+`|\[[^\]]+\]|[^\s(]+)', re.I)

Row = dict[str, str]
Key = tuple[str, str]
"""A question, and the hash of the database that it is about."""


def check_rows(raw: Sequence[object], parts: Split, changes: RevisionChanges | None) -> DataCheck:
    """Look at the rows of a revision.

    Args:
        raw: The rows as the files have them.
        parts: What `split` made of them.
        changes: Against an earlier revision, if there is one.
    """
    rows = [row for row in map(clean, raw) if row is not None]
    answers = _answers(rows)
    contradictory = [key for key, distinct in answers.items() if len(distinct) > 1]
    tables = _tables(rows)
    unusable = [row for row in parts.changed if row.answer is None]
    return DataCheck(
        rows=len(raw),
        questions=len(answers),
        invalid=parts.counts.invalid,
        unusable=parts.counts.unusable,
        contradictory=len(contradictory),
        fields=fields(raw),
        unusable_rows=[
            UnusableRow(question=row.question, answer=row.original, problem=row.problem or "")
            for row in unusable[:EXAMPLES]
        ],
        contradictions=[
            Contradiction(question=key[0], tables=tables[key[1]], answers=sorted(answers[key]))
            for key in contradictory[:EXAMPLES]
        ],
        overlap=overlap(parts.train, parts.held_out),
        changes=changes,
    )


def compare(
    before: Sequence[object], after: Sequence[object], since: str, held_out_percent: int
) -> RevisionChanges:
    """Compare two revisions, question by question.

    A question is the same if its text and its schema are. A question whose schema was changed is thus removed
    from one database and added to another.

    Args:
        before: Rows of the earlier revision, as its files have them.
        after: Rows of the later one.
        since: Commit of the earlier one.
        held_out_percent: Share of the databases that is held out.
    """
    old_rows, new_rows = ([row for row in map(clean, raw) if row is not None] for raw in (before, after))
    old, new = _answers(old_rows), _answers(new_rows)
    tables = _tables([*old_rows, *new_rows])
    changed = [key for key in old.keys() & new.keys() if old[key] != new[key]]
    old_databases, new_databases = ({db for _, db in keys} for keys in (old, new))
    return RevisionChanges(
        since=since,
        questions_before=len(old),
        added=len(new.keys() - old.keys()),
        removed=len(old.keys() - new.keys()),
        changed=len(changed),
        new_databases=len(new_databases - old_databases),
        lost_databases=len(old_databases - new_databases),
        databases=_by_database(old, new, tables, held_out_percent)[:DATABASES],
        answers=[
            ChangedAnswer(
                question=key[0], tables=tables[key[1]], before=sorted(old[key]), after=sorted(new[key])
            )
            for key in sorted(changed)[:EXAMPLES]
        ],
        fields_before=fields(before),
    )


def fields(rows: Iterable[object]) -> list[str]:
    """The fields that any of the rows has, in alphabetical order."""
    return sorted({name for row in rows if isinstance(row, dict) for name in row})


def _answers(rows: Iterable[Row]) -> dict[Key, set[str]]:
    """The different answers to each question; blanks do not make an answer another one."""
    answers: dict[Key, set[str]] = defaultdict(set)
    for row in rows:
        answers[row["question"], database(row["context"])].add(" ".join(row["answer"].split()))
    return answers


def _tables(rows: Iterable[Row]) -> dict[str, str]:
    """The names of each database's tables."""
    contexts = {database(row["context"]): row["context"] for row in rows}
    return {
        db: ", ".join(name.strip('"`[]') for name in _TABLE.findall(context))
        for db, context in contexts.items()
    }


def _by_database(
    old: Mapping[Key, set[str]],
    new: Mapping[Key, set[str]],
    tables: Mapping[str, str],
    percent: int,
) -> list[DatabaseChange]:
    questions: dict[str, tuple[set[str], set[str]]] = defaultdict(lambda: (set(), set()))
    for side, keys in enumerate((old, new)):
        for question, db in keys:
            questions[db][side].add(question)
    differences = [
        DatabaseChange(
            database=db,
            tables=tables[db],
            before=sum(len(old[q, db]) for q in was),
            after=sum(len(new[q, db]) for q in now),
            added=len(now - was),
            removed=len(was - now),
            changed=sum(old[q, db] != new[q, db] for q in was & now),
            held_out=held_out(db, percent),
        )
        for db, (was, now) in questions.items()
    ]
    differing = [change for change in differences if change.added or change.removed or change.changed]
    return sorted(differing, key=lambda c: (-(c.added + c.removed + c.changed), c.tables))
