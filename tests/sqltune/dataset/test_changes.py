"""What a revision changes against an earlier one, and what is wrong with its rows."""

from __future__ import annotations

import pytest

from sqltune.config.data_limits import DataLimits
from sqltune.dataset.changes import compare
from sqltune.dataset.data_check import excesses
from sqltune.node_contracts.data_check import DataCheck
from tests.revisions_of_rows import PERCENT, SINCE, check, rows


def limits_exceeded(found: DataCheck, **limits) -> list[str]:
    return [excess.limit for excess in excesses(found, DataLimits(**limits))]


def test_nothing_changed():
    found = check(rows(), rows())
    assert found.changes
    assert (found.changes.added, found.changes.removed, found.changes.changed) == (0, 0, 0)
    assert found.changes.databases == []
    assert limits_exceeded(found) == []


def test_rows_are_compared_by_question_and_schema_and_not_by_order_or_spacing():
    spaced = [
        row | {"answer": row["answer"].replace(" ", "  "), "context": row["context"].replace(" (", "\n(")}
        for row in reversed(rows())
    ]
    assert check(spaced, rows()).changes == compare(rows(), rows(), SINCE, PERCENT)


def test_added_removed_and_changed_are_counted_by_database():
    before = rows()
    after = before[5:]  # database 0 is gone
    after[0] = after[0] | {"answer": "SELECT 1"}  # of database 1
    after.append(before[5] | {"question": "one more"})
    after.append(before[5] | {"context": "CREATE TABLE fresh (a INTEGER)", "answer": "SELECT a FROM fresh"})
    changes = check(after, before).changes
    assert changes
    assert (changes.added, changes.removed, changes.changed) == (2, 5, 1)
    assert (changes.new_databases, changes.lost_databases) == (1, 1)
    by_tables = {c.tables: (c.before, c.after, c.added, c.removed, c.changed) for c in changes.databases}
    assert by_tables == {"t0": (5, 0, 0, 5, 0), "t1": (5, 6, 1, 0, 1), "fresh": (0, 1, 1, 0, 0)}
    (answer,) = changes.answers
    assert (answer.tables, answer.before, answer.after) == ("t1", [before[5]["answer"]], ["SELECT 1"])


def test_a_third_of_the_rows_lost_exceeds_the_limit():
    found = check(rows()[:66], rows())
    (excess,) = excesses(found, DataLimits())
    assert excess.message == f"34 of 100 questions are gone since {SINCE[:12]} (34.0%); max_lost is 10.0%"
    assert limits_exceeded(found, max_lost=0.34) == []


def test_labels_shifted_by_one_row_exceed_the_limit():
    before = rows()
    shifted = [r | {"answer": before[i - 1]["answer"]} for i, r in enumerate(before)]
    assert limits_exceeded(check(shifted, before), max_unusable=1) == ["max_changed"]


def test_a_field_that_is_gone_is_named():
    before = [row | {"db_id": "x"} for row in rows()]
    (excess,) = excesses(check(rows(), before), DataLimits())
    assert (excess.limit, "db_id" in excess.message) == ("fields", True)


@pytest.mark.parametrize(
    ("limit", "bad"),
    [
        ("max_invalid", {"question": "no answer"}),
        ("max_unusable", rows(1, 1)[0] | {"answer": "SELECT nothing FROM nowhere"}),
        ("max_contradictory", rows(1, 1)[0] | {"answer": "SELECT 7"}),
    ],
)
def test_bad_rows_exceed_their_limit_without_an_earlier_revision(limit, bad):
    found = check([*rows(), bad])
    assert limits_exceeded(found, **{limit: 0}) == [limit]
    assert limits_exceeded(found, **{limit: 0.02}) == []


def test_what_is_shown_is_bounded():
    before = rows(300, 2)
    after = [row | {"answer": "SELECT 1"} for row in before]
    changes = check(after, before).changes
    assert changes
    assert (len(changes.databases), len(changes.answers), changes.changed) == (200, 20, 600)


def test_contradictory_answers_are_shown_together():
    twice = rows()[0] | {"answer": "SELECT 7"}
    (found,) = check([*rows(), twice]).contradictions
    assert found.answers == ["SELECT 7", rows()[0]["answer"]]
