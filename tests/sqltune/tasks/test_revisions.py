"""The list of revisions that wait, with the reason."""

from __future__ import annotations

import pytest

from sqltune.config.recipe import Revisions
from sqltune.tasks.revisions import list_waiting, reason
from tests.plans import LAB
from tests.sqltune.revisions.test_policy import WAITING, revision


@pytest.mark.parametrize(
    ("policy", "reasons"),
    [
        ("nightly", ["a newer one is trained in its place"] * 2 + ["the next night trains it"]),
        (
            "newest",
            ["a newer one is trained in its place"] * 2
            + ["from 2026-11-24 12:10:00 UTC on, when no other run trains"],
        ),
        (
            "each",
            [
                "from 2026-11-24 12:10:00 UTC on, when no other run trains",
                "place 2 in the queue",
                "place 3 in the queue",
            ],
        ),
        (
            "tagged",
            ["has no tag", "from 2026-11-24 12:06:00 UTC on, when no other run trains", "has no tag"],
        ),
    ],
)
def test_every_revision_that_waits_has_a_reason(policy, reasons):
    rule = Revisions(policy=policy, quiet_period=60)
    assert [reason(r, WAITING, rule) for r in WAITING] == reasons


def test_the_list_names_commit_date_and_title(records, monkeypatch):
    from sqltune.records import revisions

    for name, value in LAB.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(revisions, "waiting", lambda feed: [revision("a")])
    assert list_waiting() == ["aaaaaaaaaaaa of 2026-11-24 12:00 (a): the next night trains it"]
